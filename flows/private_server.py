"""The process of a private Prefect API. Importing this imports Prefect's server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings

from flows import serve
from tasks.errors import UserError

TRIES = 3
"""Starts, each on another port, before the fault is taken to be something else than the port."""
RESTARTS = 5
"""Times that a server which died is started again."""
OWN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",  # its console is a file that nobody but `fault` reads
}


class PrivateServer(SubprocessASGIServer):
    """The server that Prefect starts for itself where it has none, but one that ends with this process however that
    ends, that signals to this process's group do not reach, that is started again where it dies, and that does not try
    for ever to start.

    Prefect finds it in the place of its own: there is one for each port, and one without, whatever their class. Start
    it from the main thread: Linux takes the end of the thread that started a process for its parent's.
    """

    log: Any = None
    tries = 0
    stopping = False

    def start(self, timeout: int | None = None) -> None:
        """UserError where it does not start."""
        if self.running:
            return
        try:
            super().start(timeout)
        except Exception as error:
            self.stop()
            raise self.fault() from error
        threading.Thread(target=self._keep, name="stepwave-prefect", daemon=True).start()

    def stop(self) -> None:
        self.stopping = True
        super().stop()

    def _keep(self) -> None:
        """Start the server again, on its port and database, when something kills it, such as a lack of memory."""
        for _ in range(RESTARTS):
            if (process := self.server_process) is not None:
                process.wait()
            if self.stopping:
                return
            self.server_process = self._start()

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        self.tries += 1
        if self.tries > TRIES:
            raise RuntimeError(f"{TRIES} starts failed")
        return self._start()

    def _start(self) -> subprocess.Popen[Any]:
        self.log = tempfile.TemporaryFile()
        return _Process(
            [sys.executable, "-P", os.path.abspath(serve.__file__), str(os.getpid()), str(self.port)],
            env=os.environ | get_current_settings().to_environment_variables(exclude_unset=True) | OWN,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def fault(self) -> UserError:
        """Why it did not start, from its own last words."""
        url = str(PREFECT_API_DATABASE_CONNECTION_URL.value())
        file = url.rpartition(":///")[2] if url.startswith("sqlite") else ""
        mend = f"move its database {file} away" if file else "mend PREFECT_API_DATABASE_CONNECTION_URL"
        return UserError(
            f"Prefect's private API did not start ({self._last_words()}); {mend}, or set PREFECT_API_URL to a server "
            "that runs"
        )

    def _last_words(self) -> str:
        if self.log is None:
            return "no reason given"
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode("utf-8", "replace").splitlines()]
        faults = [line for line in lines if "Error" in line.partition(":")[0]]
        return (faults or lines or ["no reason given"])[-1][:300]


class _Process(subprocess.Popen[Any]):
    def terminate(self) -> None:
        """SIGTERM is not heard: see serve.py."""
        self.send_signal(signal.SIGINT)
