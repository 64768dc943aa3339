"""One run taken to its end, as Prefect flows do it: a task for each cohort and commit, progress, waits for others."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flows import drifting, ui
from flows.cancellation import heeded
from flows.progress import current, shown
from flows.recording import log
from flows.settling import settle
from flows.stages import Opaque, commit_shard, decode_cohort, wait_for, warning
from tasks import claims, metrics, timeline
from tasks.calibration.settled import settled
from tasks.claims import Owner, Session
from tasks.completion import complete, finish, take_up
from tasks.errors import UserError
from tasks.garbage import collected_rarely
from tasks.grading import Grader
from tasks.metering import Meters
from tasks.pipeline import Pipeline
from tasks.plan import Plan
from tasks.run_directory import Identity, RunDirectory
from tasks.shard import Shard
from tasks.shared_engines import SharedEngines
from tasks.totals import add_up

NOTHING_TO_DO = "this run is complete: nothing to do"


@dataclass(frozen=True)
class Begun:
    """A run that this process has begun or goes on with."""

    plan: Plan
    output: RunDirectory
    identity: Identity
    session: Session
    drifts: drifting.Told = field(default_factory=drifting.Told)


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

    async def make(run: Begun, free: list[int]) -> float:
        records = await to_thread(output.records)
        done = sum(record["counts"]["solutions"] for n, record in records.good.items() if n not in free)
        work = Work(free, name, plan.survey.usable * plan.config.decoding.samples, done)
        async with engines() as shared:
            return await fill(run, work, shared)

    async def wait(run: Begun, others: dict[int, Owner]) -> None:
        await wait_for(others, run.session)

    return await take_to_its_end(plan, output, meters, warn, make, wait, retry_failed)


async def take_to_its_end(
    plan: Plan,
    output: RunDirectory,
    meters: Meters,
    warn: Callable[[str], None],
    make: Callable[[Begun, list[int]], Awaitable[float]],
    wait: Callable[[Begun, dict[int, Owner]], Awaitable[None]] | None,
    retry_failed: bool,
) -> dict[str, Any]:
    """Have a run completed as `completion.complete` does, then write its manifest; returns that. `make` returns the
    seconds that engines took to start."""
    progress = current()
    identity, records, manifest = await to_thread(take_up, plan, output, retry_failed)
    if manifest is not None:
        progress.say(NOTHING_TO_DO)
        return manifest
    for line in await to_thread(output.words):
        warn(line)
    for fault in records.damaged:
        warn(f"{fault}: the shard is made again")
    if records.good:
        progress.say(f"{len(records.good)} of {plan.shards} shards are done already")

    engines_took = 0.0
    async with claims.opened(output.store, meters) as session:
        run = Begun(plan, output, identity, session)

        async def timed(open_shards: list[int]) -> None:
            nonlocal engines_took
            try:
                engines_took += await make(run, open_shards)
            except UserError as error:
                drifting.pass_on(identity.run_id, error, run.drifts)
                raise

        records = await complete(plan, output, identity, session, timed, wait and partial(wait, run))
        ended = await to_thread(settled, plan, output.store)
        await drifting.look(ended, identity.run_id, add_up(records.good)[0], run.drifts, warn)
        await to_thread(timeline.draw, output.store, warn)
        seconds = {"total": round(meters.now() / 1e6, 3), "engines": round(engines_took, 3)}
        finishing = asyncio.ensure_future(to_thread(finish, ended, output, identity, session, records, seconds))
        try:
            return await asyncio.shield(finishing)
        except asyncio.CancelledError:
            await asyncio.wait([finishing])  # what has begun to be tidied up is tidied up
            raise


@asynccontextmanager
async def watched(run: Begun) -> AsyncIterator[None]:
    """While the block runs, its progress is to be seen in Prefect's UI, and by Prometheus if asked for."""
    at, run_id, progress = run.plan.config.run, run.identity.run_id, current()

    def say(text: str) -> None:
        log().info("%s", text)
        progress.say(text)

    with shown(progress), metrics.served(at.metrics_port, run_id, run.session, say, warning(), at.metrics_host):
        async with ui.progress_shown(progress, run_id):
            yield


async def fill(run: Begun, work: Work, shared: SharedEngines) -> float:
    """Commit what this process gets hold of; returns the seconds of the engines' start."""
    async with watched(run):
        return await _fill(run, work, shared)


async def _fill(run: Begun, work: Work, shared: SharedEngines) -> float:
    plan, output, session = run.plan, run.output, run.session
    progress, meters = current(), session.meters
    idle = plan.survey.usable == 0  # all are done: nothing to start engines for
    engines, engines_took = (dict.fromkeys(plan.roles), 0.0) if idle else await shared.of(plan, meters)
    company = None
    if plan.config.decoding.auto and not idle:
        plan, company = await settle(plan, output, engines, meters, shared.warn)
    progress.begin(work.total, work.done, work.name)
    drift = drifting.WHOLE if work.more is None else drifting.PART  # of a fleet, whose parent tells of the whole
    with Grader() as grader, collected_rarely():
        pipeline = Pipeline(plan, output, run.identity, session, engines, grader, company)

        async def commit(shard: Shard) -> None:
            await commit_shard(Opaque(pipeline), Opaque(shard), shard.number)
            await drifting.look(plan, run.identity.run_id, session.tally.counts, run.drifts, shared.warn, drift)

        try:
            async with heeded():
                await pipeline.run(
                    work.shards,
                    lambda shard, cohort: decode_cohort(Opaque(pipeline), Opaque(shard), shard.number, cohort),
                    commit,
                    work.more,
                )
        finally:
            meters.decoded()
            await to_thread(session.keep_lanes)
    return engines_took
