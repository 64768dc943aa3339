"""One run taken to its end, as Prefect flows do it: a task for each cohort and commit, progress, waits for others."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from prefect import get_run_logger

from flows import ui
from flows.drifting import Drift
from flows.progress import Progress, current, shown
from flows.settling import settle
from flows.stages import Opaque, commit_shard, decode_cohort, wait_for
from tasks import claims, metrics, timeline
from tasks.calibration.settled import settled
from tasks.claims import Owner, Session
from tasks.completion import complete, finish, take_up
from tasks.garbage import collected_rarely
from tasks.grading import Grader
from tasks.metering import Meters
from tasks.pipeline import Pipeline
from tasks.plan import Plan
from tasks.run_directory import Identity, RunDirectory
from tasks.shard import Shard
from tasks.shared_engines import SharedEngines
from tasks.totals import add_up


async def complete_run(
    plan: Plan,
    output: RunDirectory,
    engines: Callable[[], AbstractAsyncContextManager[SharedEngines]],
    meters: Meters,
    warn: Callable[[str], None],
    name: str = "solutions",
    retry_failed: bool = False,
) -> dict[str, Any]:
    """Make what an output lacks of its run; returns the manifest. `engines` is entered while this process has shards
    to make; `name` is what progress calls the run, whose time is that on `meters`."""
    progress = current()
    identity, records, manifest = await to_thread(take_up, plan, output, retry_failed)
    if manifest is not None:
        progress.say("this run is complete: nothing to do")
        return manifest
    for fault in records.damaged:
        warn(f"{fault}: the shard is made again")
    if records.good:
        progress.say(f"{len(records.good)} of {plan.shards} shards are done already")

    engines_took = 0.0
    drift = Drift(identity.run_id, warn)
    async with claims.opened(output.store, meters) as session, watched(progress, plan, identity, session):

        async def make(free: list[int]) -> None:
            nonlocal engines_took
            async with engines() as shared:
                engines_took += await fill(plan, output, identity, session, free, shared, name, drift)

        async def wait(others: dict[int, Owner]) -> None:
            await wait_for(others, output.store)

        records = await complete(plan, output, identity, session, make, wait)
        ended = await to_thread(settled, plan, output.store)
        await drift.look(ended, add_up(records.good)[0])
        await to_thread(timeline.draw, output.store, warn)
        seconds = {"total": round(meters.now() / 1e6, 3), "engines": round(engines_took, 3)}
        finishing = asyncio.ensure_future(to_thread(finish, ended, output, identity, session, records, seconds))
        try:
            return await asyncio.shield(finishing)
        except asyncio.CancelledError:
            await asyncio.wait([finishing])  # what has begun to be tidied up is tidied up
            raise


@asynccontextmanager
async def watched(progress: Progress, plan: Plan, identity: Identity, session: Session) -> AsyncIterator[None]:
    """While the block runs, its progress is to be seen in Prefect's UI, and by Prometheus if asked for."""
    say = get_run_logger().info
    with shown(progress), metrics.served(plan.config.run.metrics_port, identity.run_id, session, say):
        async with ui.progress_shown(progress, identity.run_id):
            yield


async def fill(
    plan: Plan,
    output: RunDirectory,
    identity: Identity,
    session: Session,
    open_shards: list[int],
    shared: SharedEngines,
    name: str,
    drift: Drift,
) -> float:
    """Commit what this process gets hold of; returns the seconds of the engines' start."""
    progress, meters = current(), session.meters
    engines, engines_took = await shared.of(plan, meters)
    records = await to_thread(output.records)
    done = sum(record["counts"]["solutions"] for n, record in records.good.items() if n not in open_shards)
    company = None
    if plan.config.decoding.auto:
        plan, company = await settle(plan, output, engines, meters, shared.warn)
    progress.begin(plan.survey.usable * plan.config.decoding.samples, done, name)
    with Grader() as grader, collected_rarely():
        pipeline = Pipeline(plan, output, identity, session, engines, grader, company)

        async def commit(shard: Shard) -> None:
            await commit_shard(Opaque(pipeline), Opaque(shard), shard.number)
            await drift.look(plan, session.tally.counts)

        try:
            await pipeline.run(
                open_shards,
                lambda shard, cohort: decode_cohort(Opaque(pipeline), Opaque(shard), shard.number, cohort),
                commit,
            )
        finally:
            meters.decoded()
            await to_thread(session.keep_lanes)
    return engines_took
