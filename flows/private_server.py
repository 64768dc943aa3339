"""The process of a private Prefect API. Importing this imports Prefect's server."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import httpx
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
)

from flows import serve
from schemas.credentials import redacted
from tasks.errors import UserError

TRIES = 3
"""Ports tried, where another process takes the one that was free."""
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
    ends, that signals to this process's group do not reach, and that is started again where it dies.

    Prefect finds it in the place of its own: there is one for each port, and one without, whatever their class. Start
    it from the main thread: Linux takes the end of the thread that started a process for its parent's.
    """

    log: Any = None
    stopping = False

    def start(self, timeout: int | None = None) -> None:
        """UserError where it does not start."""
        if self.running:
            return
        atexit.register(self.stop)
        seconds = timeout or PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        for _ in range(TRIES):
            self.port = self.find_available_port()
            self.server_process = self._start()
            self.running = self._answers(time.monotonic() + seconds)
            if self.running:
                threading.Thread(target=self._keep, name="stepwave-prefect", daemon=True).start()
                return
            if "address already in use" not in self._said():
                break
        self.stop()
        raise self._fault()

    def _answers(self, deadline: float) -> bool:
        with httpx.Client(trust_env=False) as client:  # no proxy stands in between
            while self.server_process is not None and self.server_process.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.api_url}/health").status_code == 200:
                        return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
        return False

    def stop(self) -> None:
        self.stopping = True
        super().stop()

    def _keep(self) -> None:
        """Start the server again, on its port and database, when something kills it, such as a lack of memory.

        Ends with the last of them: what this thread started dies with it.
        """
        restarts = 0
        while (process := self.server_process) is not None:
            process.wait()
            if self.stopping or restarts == RESTARTS:
                return
            restarts += 1
            self.server_process = self._start()

    def _start(self) -> subprocess.Popen[Any]:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server is
        return _Process(
            [sys.executable, "-P", os.path.abspath(serve.__file__), str(os.getpid()), str(self.port)],
            env=os.environ | get_current_settings().to_environment_variables(exclude_unset=True) | OWN,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def _said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def _fault(self) -> UserError:
        """Why it did not start, from its own last words."""
        lines = [line.strip() for line in self._said().splitlines()]
        faults = [line for line in lines if "Error" in line.partition(":")[0]]
        reason = (faults or lines or ["it does not answer"])[-1][:300]
        url = str(PREFECT_API_DATABASE_CONNECTION_URL.value())
        file = url.rpartition(":///")[2] if url.startswith("sqlite") else ""
        mend = f"move its database {file} away" if file else "mend PREFECT_API_DATABASE_CONNECTION_URL"
        return UserError(
            f"Prefect's private API did not start ({redacted(reason)}); {mend}, or set PREFECT_API_URL to a server "
            "that runs"
        )


class _Process(subprocess.Popen[Any]):
    def terminate(self) -> None:
        """SIGTERM is not heard: see serve.py."""
        self.send_signal(signal.SIGINT)
