"""A run from its first open shard to its manifest: its progress, and waiting for others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from flows.lifecycle import drift_alerts
from flows.lifecycle.at_work import RunAtWork, at_work, finish_run, make, metered, start_run, watched
from flows.lifecycle.auto_threshold import find_threshold
from flows.lifecycle.stages import wait_for
from flows.terminal.progress import current
from tasks.generation.completion import open_work
from tasks.generation.engine_pool import SharedEngines
from tasks.generation.pipeline import collected_rarely
from tasks.grading import Grader
from tasks.output.directory import RunDirectory
from tasks.planning.plan import Plan
from tasks.telemetry.metering import Meters


@dataclass(frozen=True)
class Work:
    """What a process sets out to make."""

    shards: list[int]
    name: str
    """What progress calls the solutions."""
    total: int
    done: int = 0
    """Solutions, in all and of earlier processes."""
    more: Callable[[], list[int]] | None = None
    """See `Pipeline.run`."""


async def run_to_completion(
    plan: Plan,
    output: RunDirectory,
    engines: Callable[[], AbstractAsyncContextManager[SharedEngines]],
    meters: Meters,
    warn: Callable[[str], None],
    name: str = "solutions",
    retry_failed: bool = False,
) -> dict[str, Any]:
    """Make the shards that an output lacks; returns the manifest. `engines` is entered while this process has shards to
    make. `name` is the run's name in the progress; `meters` count its time."""
    run = await start_run(plan, output, warn, retry_failed)
    if run.manifest is not None:
        return run.manifest
    async with at_work(run, meters) as working:
        async for work in open_work(run, working.session):
            if work.others:
                await wait_for(work.others, working.session)
                continue
            done = sum(record["counts"]["solutions"] for n, record in run.records.good.items() if n not in work.free)
            total = plan.survey.usable * plan.config.decoding.samples
            async with engines() as shared:
                await fill(working, Work(work.free, name, total, done), shared)
        return await finish_run(working, warn)


async def fill(working: RunAtWork, work: Work, shared: SharedEngines) -> None:
    """Make and commit the shards that this process can claim. Engines start only if there is anything to decode."""
    with metered(working):
        async with watched(working.run.identity.run_id):
            await _fill(working, work, shared)


async def _fill(working: RunAtWork, work: Work, shared: SharedEngines) -> None:
    plan, output, meters = working.run.plan, working.run.output, working.session.meters
    idle = plan.survey.usable == 0  # all are done: nothing to start engines for
    engines, took = (dict.fromkeys(plan.roles), 0.0) if idle else await shared.of(plan, meters)
    working.engines_took += took
    group = None
    if plan.config.decoding.auto and not idle:
        plan, group = await find_threshold(plan, output, engines, meters, shared.warn)
    current().begin(work.total, work.done, work.name)
    drift = (
        drift_alerts.OF_RUN if work.more is None else drift_alerts.OF_PART
    )  # of a fleet, whose parent tells of the whole
    with Grader() as grader, collected_rarely():
        run = replace(working.run, plan=plan)
        await make(replace(working, run=run), work.shards, engines, grader, shared.warn, group, work.more, drift)
