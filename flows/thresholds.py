"""Runs of the same problems at several thresholds, on the same engines and with one memory of attempts."""

from __future__ import annotations

import asyncio
import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from flows.progress import current
from flows.stages import Opaque, commit_shard, decode_cohort, wait_for
from tasks import claims
from tasks.calibration.directory import at_threshold
from tasks.calibration.figures import Seen, read
from tasks.calibration.recall import read_table, recall
from tasks.claims import Owner
from tasks.completion import complete, finish, take_up
from tasks.decoding.sweep import Memory
from tasks.garbage import collected_rarely
from tasks.grading import Grader
from tasks.metering import Meters
from tasks.pipeline import Company, Pipeline, first_fault
from tasks.plan import Plan
from tasks.run_directory import Identity, RunDirectory
from tasks.store import Say, Store

Engines = Callable[[], Awaitable[dict[str, Any]]]
"""Role to engine; opens them the first time."""


@dataclass(frozen=True)
class Run:
    """One threshold's run."""

    plan: Plan
    output: RunDirectory
    identity: Identity


class Thresholds:
    """Runs of a problem set below `place`, one for each threshold. Attempts of one are used by the others."""

    def __init__(self, plan: Plan, place: str, engines: Engines, meters: Meters, warn: Say) -> None:
        self.plan, self.place, self.engines, self.meters, self.warn = plan, place, engines, meters, warn
        self.store = Store(place, plan.config.storage, plan.config.run.store_patience, warn)
        self.manifests: dict[float, dict[str, Any]] = {}
        self.seen: dict[float, Seen] = {}
        self.memory = Memory(plan.shared_vocabulary() is True)

    async def run(self, thresholds: list[float]) -> None:
        """Complete these runs and read their figures. Runs that are complete already cost nothing."""
        open_: dict[float, Run] = {}
        done = 0
        for threshold in thresholds:
            run = self._run(threshold)
            identity, records, manifest = await to_thread(take_up, run.plan, run.output, False)
            for fault in records.damaged:
                self.warn(f"{fault}: the shard is made again")
            if manifest is None:
                open_[threshold] = replace(run, identity=identity)
                done += sum(record["counts"]["solutions"] for record in records.good.values())
            else:
                self.manifests[threshold] = manifest
        if open_:
            for threshold in open_:
                await to_thread(self.recall, threshold)
            engines = await self.engines()
            current().begin(len(open_) * self.plan.survey.usable * self.plan.config.decoding.samples, done, "solutions")
            company = Company(self.plan, len(open_), self.memory)
            try:
                with Grader() as grader, collected_rarely():
                    async with asyncio.TaskGroup() as group:
                        for threshold, run in open_.items():
                            group.create_task(self._make(threshold, run, engines, grader, company))
            except BaseExceptionGroup as errors:
                raise first_fault(errors) from errors
        for threshold in thresholds:
            self.seen[threshold] = await to_thread(self._read, self._run(threshold).output)

    def directory(self, threshold: float) -> RunDirectory:
        """Where one threshold's run is, or would be."""
        return self._run(threshold).output

    def recall(self, threshold: float) -> None:
        """Learn the attempts of one threshold's run, of now or earlier. Raises UserError if the run is another's."""
        run = self._run(threshold)
        run.output.check_same(run.plan.config, run.plan.survey.fingerprint, run.plan.models)
        recall(self.memory, run.output, run.plan)

    def rewards(self) -> np.ndarray:
        """float32: of the draft's attempts that were seen at any threshold."""
        return np.concatenate([seen.rewards for seen in self.seen.values()])

    def _run(self, threshold: float) -> Run:
        config = at_threshold(self.plan.config, threshold, self.place)
        store = Store(config.output.path, config.storage, config.run.store_patience, self.warn)
        return Run(replace(self.plan, config=config), RunDirectory(store), Identity("", ""))

    async def _make(
        self, threshold: float, run: Run, engines: dict[str, Any], grader: Grader, company: Company
    ) -> None:
        started = time.monotonic()
        async with claims.opened(run.output.store, self.meters) as session:

            async def make(free: list[int]) -> None:
                pipeline = Pipeline(run.plan, run.output, run.identity, session, engines, grader, company)
                await pipeline.run(
                    free,
                    lambda shard, cohort: decode_cohort(Opaque(pipeline), Opaque(shard), shard.number, cohort),
                    lambda shard: commit_shard(Opaque(pipeline), Opaque(shard), shard.number),
                )

            async def wait(others: dict[int, Owner]) -> None:
                await wait_for(others, session)

            records = await complete(run.plan, run.output, run.identity, session, make, wait)
            seconds = {"total": round(time.monotonic() - started, 3), "engines": 0.0}
            finishing = asyncio.ensure_future(
                to_thread(finish, run.plan, run.output, run.identity, session, records, seconds)
            )
            try:
                self.manifests[threshold] = await asyncio.shield(finishing)
            except asyncio.CancelledError:
                await asyncio.wait([finishing])
                raise

    @staticmethod
    def _read(output: RunDirectory) -> Seen:
        records = [record for _, record in sorted(output.records().good.items())]
        solutions, steps = ([read_table(output, record, name) for record in records] for name in ("solutions", "steps"))
        return read(pa.concat_tables(solutions), pa.concat_tables(steps))
