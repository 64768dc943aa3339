"""Flow runs of a fleet in this process, in the place of Prefect's: what a parent does is tested without workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from schemas.config import Config
from tasks.errors import UserError
from tasks.generation.fleet_policy import FlowRun, Start


class InProcess:
    """What flows/prefect_api/flow_runs.py is to a parent. `act` is what a flow run does; it may be any coroutine."""

    def __init__(self, act: Callable[[Config, int, int], Any]) -> None:
        self.act = act
        self.config: Config | None = None
        self.token, self.groups = "", 0
        self.runs: dict[str, FlowRun] = {}
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.started: list[Start] = []
        self.cancelled_self = False

    @asynccontextmanager
    async def opened(self, config: Config, warn: Callable[[str], None]) -> AsyncIterator[InProcess]:
        self.config = config.model_copy(update={"run": config.run.model_copy(update={"workers": None})})
        yield self
        await asyncio.gather(*(task for task in self.tasks.values() if not task.done()), return_exceptions=True)

    def begin(self, run_id: str, token: str, groups: int) -> None:
        if token != self.token:
            self.runs, self.tasks = {}, {}
        self.token, self.groups = token, groups

    async def known(self) -> list[FlowRun]:
        return await self.states(self.runs.values())

    async def states(self, runs: Collection[FlowRun]) -> list[FlowRun]:
        return [self._now(self.runs[run.id]) for run in runs]

    def _now(self, run: FlowRun) -> FlowRun:
        task = self.tasks[run.id]
        if run.state != "running" or not task.done():
            return run
        error = None if task.cancelled() else task.exception()
        if error is not None:
            kind = "UserError: " if isinstance(error, UserError) else ""
            return self._keep(replace(run, state="crashed", message=f"{kind}{error}"))
        return self._keep(replace(run, state="cancelled" if task.cancelled() else "done"))

    def _keep(self, run: FlowRun) -> FlowRun:
        self.runs[run.id] = run
        return run

    async def start(self, start: Start) -> FlowRun:
        assert self.config is not None
        self.started.append(start)
        id_, name = f"{start.group}/{self.groups}-{start.attempt}", f"run {start.group}"
        run = FlowRun(id_, name, start.group, self.groups, start.attempt, "running")
        self.tasks[run.id] = asyncio.ensure_future(self.act(self.config, start.group, self.groups))
        return self._keep(run)

    async def crash(self, run: FlowRun, why: str) -> FlowRun:
        return self._keep(replace(run, state="crashed", message=why))

    async def cancel(self, runs: Collection[FlowRun]) -> None:
        for run in runs:
            self.tasks[run.id].cancel()
            self._keep(replace(run, state="cancelled"))

    async def own_is_cancelled(self) -> bool:
        return self.cancelled_self

    async def waiting_for(self, waiting: int) -> str:
        return f"{waiting} wait"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], InProcess]:
    """Let runs with workers have their flow runs in this process."""

    def use(act: Callable[..., Any]) -> InProcess:
        fleet = InProcess(act)
        monkeypatch.setattr("flows.lifecycle.fleet.connected", fleet.opened)
        monkeypatch.setattr("flows.lifecycle.fleet.POLL", 0.02)
        return fleet

    return use
