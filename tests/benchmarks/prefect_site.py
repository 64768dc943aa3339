"""A Prefect server and process workers of its own for a benchmark, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
"""Seconds that a process may take to start."""


class Site:
    """A server, and the workers that `work` starts. All end with the block."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """`environment`: more variables of every process, such as those of a store."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.api = folder, f"http://127.0.0.1:{self.port}/api"
        home = folder / "prefect"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(home),
            "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "storage"),
            "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.pools = set[str]()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self.processes)):
            self.end(name, signal.SIGKILL)

    def serve(self) -> None:
        """Start the server, or start it again on its port and database."""
        self.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(f"{self.api}/health", trust_env=False).raise_for_status()
                return
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"Prefect's server did not start: see {self.folder}/server.log") from None
                time.sleep(0.2)

    def work(self, name: str, pool: str, limit: int) -> None:
        """Start a worker that runs at most `limit` flow runs of a pool at a time."""
        self.start(name, "worker", "start", "--type", "process", "--pool", pool, "--name", name, "--limit", str(limit))

    def start(self, name: str, *words: str) -> None:
        """Start a `prefect` command in a process group of its own; its output goes to a file of the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *words],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def deploy(self, entrypoint: str, name: str, pool: str) -> None:
        """Make a deployment of a flow of this checkout on a process pool, which is made as well."""
        if pool not in self.pools:
            self.run("work-pool", "create", pool, "--type", "process")
            self.pools.add(pool)
        variables = ["--job-variable", json.dumps({"working_dir": str(ROOT), "stream_output": False})]
        self.run("--no-prompt", "deploy", entrypoint, "--name", name, "--pool", pool, *variables)

    def run(self, *words: str) -> str:
        """What a `prefect` command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words], env=self.environment, cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"prefect {' '.join(words)}: {(done.stderr or done.stdout)[-500:]}")
        return done.stdout

    def descendants(self, name: str) -> list[psutil.Process]:
        """What a process of ours has started, and they in turn: of a worker its flow runs, and their engines."""
        process = self.processes[name]
        return psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a signal to a process and to all that it started, and wait until it has ended."""
        below, process = self.descendants(name), self.processes.pop(name)
        process.send_signal(number)
        for other in below:
            with contextlib.suppress(psutil.Error):
                other.send_signal(number)
        process.wait()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the server's API answers."""
        answer = httpx.request(method, f"{self.api}/{path}", json=body, trust_env=False, timeout=60)
        answer.raise_for_status()
        return answer.json()
