"""A work pool of the tests' Prefect server, a deployment of `generate-shards` on it, and workers as real processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0
"""Seconds until what does not happen, fails: a flow run takes 5 to 30 to start."""


def until(happened: Callable[[], Any], what: str) -> Any:
    """Wait until something is so; returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)
    return found


def flow_runs(out: str) -> list[Any]:
    """Those that Prefect knows to have made shards of an output, in the order of their creation."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    with get_client(sync_client=True) as client:  # which tells of 200 at most, and all tests have one server
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(like_=out)))
    found = [run for run in runs if out in run.name and any(tag.startswith("fleet:") for tag in run.tags)]
    return sorted(found, key=lambda run: run.created)


class Worker:
    """`prefect worker start` in a process group of its own."""

    def __init__(self, pool: str, log: Path, environment: dict[str, str], limit: int) -> None:
        words = ["-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--limit", str(limit)]
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, *words],
                env=environment,
                cwd=log.parent,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def flow_processes(self) -> list[psutil.Process]:
        """Those of the flow runs that it started."""
        try:
            children = psutil.Process(self.popen.pid).children()
            return [child for child in children if "prefect.engine" in " ".join(child.cmdline())]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        for child in self.flow_processes():
            child.kill()
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Pool:
    """A work pool with a deployment `generate-shards/NAME`."""

    def __init__(self, api: str, folder: Path) -> None:
        self.name = f"pool-{secrets.token_hex(4)}"
        self.deployment = f"generate-shards/{self.name}"
        self.folder = folder
        self.settings = {
            "PREFECT_API_URL": api,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._deploy()

    def _deploy(self) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.actions import WorkPoolCreate
        from prefect.workers.process import ProcessWorker

        from flows.shards import generate_shards

        with get_client(sync_client=True) as client:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=self.name, type="process", base_job_template=template))
        flow: Any = generate_shards.from_source(source=str(ROOT), entrypoint="flows/shards.py:generate_shards")
        variables = {"working_dir": str(self.folder), "stream_output": False}
        flow.deploy(self.name, self.name, job_variables=variables, ignore_warnings=True, print_next_steps=False)

    @contextmanager
    def workers(self, count: int, limit: int = 1, **environment: str) -> Iterator[list[Worker]]:
        """So many workers with room for `limit` flow runs each; gone after the block, flow processes included."""
        logs = (self.folder / f"worker-{n}.log" for n in range(count))
        environment = os.environ | self.settings | environment
        workers = [Worker(self.name, log, environment, limit) for log in logs]
        try:
            yield workers
        finally:
            for worker in workers:
                worker.end()
