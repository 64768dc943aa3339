"""A run that this process works on: opened, made through Prefect tasks, watched, and finished. Shared by all flows."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from flows.lifecycle import drift_alerts
from flows.lifecycle.first_look import NOTHING_TO_DO
from flows.lifecycle.stages import Opaque, commit_shard, decode_shard, warning
from flows.prefect_api import ui
from flows.prefect_api.cancellation import heeded
from flows.prefect_api.recording import log
from flows.terminal.progress import current, shown
from tasks.calibration.settled import settled
from tasks.errors import UserError
from tasks.generation.completion import OpenRun, finish, open_run
from tasks.generation.pipeline import Pipeline, PipelineGroup
from tasks.generation.shard import Shard
from tasks.grading import Grader
from tasks.output.directory import RunDirectory
from tasks.output.session import Session, open_session
from tasks.output.totals import add_up
from tasks.planning.plan import Plan
from tasks.telemetry import prometheus, timeline
from tasks.telemetry.metering import Meters


@dataclass
class RunAtWork:
    """A run that this process makes, or has others make."""

    run: OpenRun
    session: Session
    drifts: drift_alerts.Reported = field(default_factory=drift_alerts.Reported)
    engines_took: float = 0.0
    """Seconds of the engines' starts."""


async def start_run(
    plan: Plan, output: RunDirectory, warn: Callable[[str], None], retry_failed: bool = False
) -> OpenRun:
    """Open the run of an output, and report what is done already. Raises UserError as `open_run`."""
    progress = current()
    run = await to_thread(open_run, plan, output, retry_failed)
    if run.manifest is not None:
        progress.say(NOTHING_TO_DO)
        return run
    for line in await to_thread(output.notes):
        warn(line)
    for fault in run.records.damaged:
        warn(f"{fault}: the shard is made again")
    if run.records.good:
        progress.say(f"{len(run.records.good)} of {plan.shards} shards are done already")
    return run


@asynccontextmanager
async def at_work(run: OpenRun, meters: Meters) -> AsyncIterator[RunAtWork]:
    """While the block runs, other processes see that this one works on the run. A UserError that ends it and is drift
    is reported as drift."""
    async with open_session(run.output.store, meters) as session:
        working = RunAtWork(run, session)
        try:
            yield working
        except UserError as error:
            drift_alerts.pass_on(run.identity.run_id, error, working.drifts)
            raise


async def finish_run(working: RunAtWork, warn: Callable[[str], None], since: float = 0.0) -> dict[str, Any]:
    """Write the manifest of a run whose shards are all made, and return it. `since`: seconds on the session's meters
    when the run began. Raises UserError if its figures drifted and it must stop for that."""
    run, meters = working.run, working.session.meters
    run.plan = await to_thread(settled, run.plan, run.output.store)
    await drift_alerts.report(run.plan, run.identity.run_id, add_up(run.records.good)[0], working.drifts, warn)
    await to_thread(timeline.draw, run.output.store, warn)
    seconds = {"total": round(meters.now() / 1e6 - since, 3), "engines": round(working.engines_took, 3)}
    finishing = asyncio.ensure_future(to_thread(finish, run, working.session, seconds))
    try:
        return await asyncio.shield(finishing)
    except asyncio.CancelledError:
        await asyncio.wait([finishing])  # what has begun to be tidied up is tidied up
        raise


@contextmanager
def metered(working: RunAtWork) -> Iterator[None]:
    """While the block runs, Prometheus can read the run's progress, if that is configured."""
    at, run_id, progress = working.run.plan.config.run, working.run.identity.run_id, current()

    def say(text: str) -> None:
        log().info("%s", text)
        progress.say(text)

    with prometheus.served(at.metrics_port, run_id, working.session, say, warning(), at.metrics_host):
        yield


@asynccontextmanager
async def watched(name: str) -> AsyncIterator[None]:
    """While the block runs, its progress is visible in Prefect's UI under a name."""
    with shown(progress := current()):
        async with ui.progress_shown(progress, name):
            yield


async def make(
    working: RunAtWork,
    shards: list[int],
    engines: dict[str, Any],
    grader: Grader,
    warn: Callable[[str], None],
    group: PipelineGroup | None = None,
    more: Callable[[], list[int]] | None = None,
    drift: str = drift_alerts.OF_RUN,
) -> None:
    """Take shards through the engines, the decoding and the commit of each a task. `more`: see `Pipeline.run`; `drift`:
    the event that reports its drift. A cancelled flow run ends it."""
    run, session = working.run, working.session
    pipeline = Pipeline(run.plan, run.output, run.identity, session, engines, grader, group)

    async def commit(shard: Shard) -> None:
        await commit_shard(Opaque(pipeline), Opaque(shard), shard.number)
        await drift_alerts.report(run.plan, run.identity.run_id, session.tally.counts, working.drifts, warn, drift)

    try:
        async with heeded():
            await pipeline.run(
                shards,
                lambda shard: decode_shard(Opaque(pipeline), Opaque(shard), shard.number),
                commit,
                more,
            )
    finally:
        session.meters.decoded()
        await to_thread(session.keep_lanes)
