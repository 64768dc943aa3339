"""Runs of the same problems at several thresholds, on the same engines and with one memory of attempts."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from flows.lifecycle.at_work import at_work, finish_run, make, metered, start_run
from flows.lifecycle.stages import wait_for
from flows.terminal.progress import current
from tasks.calibration.directory import at_threshold
from tasks.calibration.figures import Seen, read
from tasks.calibration.recall import recall
from tasks.decoding.sweep import Memory
from tasks.generation.completion import OpenRun, open_work
from tasks.generation.pipeline import PipelineGroup, collected_rarely, first_fault
from tasks.grading import Grader
from tasks.output.directory import RunDirectory
from tasks.output.reading import committed_tables
from tasks.planning.plan import Plan
from tasks.storage.store import Say
from tasks.storage.stores import Stores
from tasks.telemetry.metering import Meters

Engines = Callable[[], Awaitable[dict[str, Any]]]
"""Role to engine; opens them the first time."""


class Thresholds:
    """Runs of a problem set below `place`, one for each threshold. Attempts of one are used by the others."""

    def __init__(self, plan: Plan, place: str, engines: Engines, meters: Meters, warn: Say) -> None:
        self.plan, self.place, self.engines, self.meters, self.warn = plan, place, engines, meters, warn
        self.store = Stores.of(plan.config, warn).store(place)
        self.manifests: dict[float, dict[str, Any]] = {}
        self.seen: dict[float, Seen] = {}
        self.memory = Memory(plan.shared_vocabulary() is True)

    async def run(self, thresholds: list[float]) -> None:
        """Complete these runs and read their figures. Runs that are complete already cost nothing."""
        runs = {threshold: await start_run(*self._run(threshold), self.warn) for threshold in thresholds}
        self.manifests |= {threshold: run.manifest for threshold, run in runs.items() if run.manifest is not None}
        if open_ := {threshold: run for threshold, run in runs.items() if run.manifest is None}:
            for threshold in open_:
                await to_thread(self.recall, threshold)
            engines = await self.engines()
            done = sum(r["counts"]["solutions"] for run in open_.values() for r in run.records.good.values())
            current().begin(len(open_) * self.plan.survey.usable * self.plan.config.decoding.samples, done, "solutions")
            pipelines = PipelineGroup(self.plan, len(open_), self.memory)
            try:
                with Grader() as grader, collected_rarely():
                    async with asyncio.TaskGroup() as group:
                        for threshold, run in open_.items():
                            group.create_task(self._complete(threshold, run, engines, grader, pipelines))
            except BaseExceptionGroup as errors:
                raise first_fault(errors) from errors
        for threshold in thresholds:
            self.seen[threshold] = await to_thread(self._read, self.directory(threshold))

    def directory(self, threshold: float) -> RunDirectory:
        """Where one threshold's run is, or would be."""
        return self._run(threshold)[1]

    def recall(self, threshold: float) -> None:
        """Learn the attempts of one threshold's run, of now or earlier. Raises UserError if the run is another's."""
        plan, output = self._run(threshold)
        output.check_same(plan.config, plan.survey.fingerprint, plan.models)
        recall(self.memory, output, plan)

    def rewards(self) -> np.ndarray:
        """float32: of the draft's attempts that were seen at any threshold."""
        return np.concatenate([seen.rewards for seen in self.seen.values()])

    def _run(self, threshold: float) -> tuple[Plan, RunDirectory]:
        """One threshold's run."""
        config = at_threshold(self.plan.config, threshold, self.place)
        output = RunDirectory(Stores.of(config, self.warn).store(config.output.path))
        return replace(self.plan, config=config), output

    async def _complete(
        self, threshold: float, run: OpenRun, engines: dict[str, Any], grader: Grader, pipelines: PipelineGroup
    ) -> None:
        since = self.meters.now() / 1e6
        async with at_work(run, self.meters) as working:
            with metered(working):
                async for work in open_work(run, working.session):
                    if work.others:
                        await wait_for(work.others, working.session)
                    else:
                        await make(working, work.free, engines, grader, self.warn, pipelines)
            self.manifests[threshold] = await finish_run(working, self.warn, since)

    @staticmethod
    def _read(output: RunDirectory) -> Seen:
        tables = committed_tables(output, output.records().good, {"solutions": None, "steps": None})
        solutions, steps = zip(*([found.table for found in both] for _, both in tables), strict=True)
        return read(pa.concat_tables(solutions), pa.concat_tables(steps))
