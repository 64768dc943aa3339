"""One run taken to its end, as Prefect flows do it: a task for each cohort and commit, progress, waits for others."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.progress import current
from tasks import claims, timeline
from tasks.claims import DEAD, Owner, Session
from tasks.completion import complete, finish, take_up
from tasks.errors import on_one_line
from tasks.garbage import collected_rarely
from tasks.grading import Grader
from tasks.metering import Meters
from tasks.pipeline import Pipeline
from tasks.plan import Plan
from tasks.run_directory import Identity, RunDirectory
from tasks.shared_engines import SharedEngines
from tasks.store import Store

OPAQUE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}

POLL = 5.0
"""Seconds between looks at shards that other processes make."""


class Opaque:
    """Carries an argument to a task past Prefect, which would walk through it."""

    def __init__(self, value: Any) -> None:
        self.value = value


def warning() -> Callable[[str], None]:
    """What tells of a fault, in the flow's log and on stderr, from whatever thread."""
    log, progress = get_run_logger(), current()

    def warn(text: str) -> None:
        log.warning("%s", on_one_line(text))
        progress.say(text)

    return warn


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
    async with claims.opened(output.store, meters) as session:

        async def make(free: list[int]) -> None:
            nonlocal engines_took
            async with engines() as shared:
                engines_took += await fill(plan, output, identity, session, free, shared, name)

        async def wait(others: dict[int, Owner]) -> None:
            await wait_for(others, output.store)

        records = await complete(plan, output, identity, session, make, wait)
        await to_thread(timeline.draw, output.store, warn)
        seconds = {"total": round(meters.now() / 1e6, 3), "engines": round(engines_took, 3)}
        finishing = asyncio.ensure_future(to_thread(finish, plan, output, identity, session, records, seconds))
        try:
            return await asyncio.shield(finishing)
        except asyncio.CancelledError:
            await asyncio.wait([finishing])  # what has begun to be tidied up is tidied up
            raise


async def fill(
    plan: Plan,
    output: RunDirectory,
    identity: Identity,
    session: Session,
    open_shards: list[int],
    shared: SharedEngines,
    name: str,
) -> float:
    """Commit what this process gets hold of; returns the seconds of the engines' start."""
    progress, meters = current(), session.meters
    engines, engines_took = await shared.of(plan, meters)
    records = await to_thread(output.records)
    done = sum(record["counts"]["solutions"] for n, record in records.good.items() if n not in open_shards)
    progress.begin(plan.survey.usable * plan.config.decoding.samples, done, name)
    with Grader() as grader, collected_rarely():
        pipeline = Pipeline(plan, output, identity, session, engines, grader)
        try:
            await pipeline.run(
                open_shards,
                lambda shard, cohort: decode_cohort(Opaque(pipeline), Opaque(shard), shard.number, cohort),
                lambda shard: commit_shard(Opaque(pipeline), Opaque(shard), shard.number),
            )
        finally:
            meters.decoded()
            await to_thread(session.keep_lanes)
    return engines_took


async def wait_for(others: dict[int, Owner], store: Store) -> None:
    """Wait until one of the shards that other processes make is done, or its process dead."""
    who = sorted({str(owner) for owner in others.values()})
    current().say(
        f"every open shard is in the hands of another process ({', '.join(who[:3])}): waiting; one that shows no sign "
        f"of life for {DEAD:.0f} s is taken for dead, and its shards are taken over"
    )
    while others.keys() <= (await to_thread(claims.holders, store)).keys():  # noqa: ASYNC110
        await asyncio.sleep(POLL)


@task(name="decode", task_run_name="shard {shard_number:05d} cohort {cohort}", **OPAQUE)
async def decode_cohort(pipeline: Opaque, shard: Opaque, shard_number: int, cohort: int) -> None:
    log, progress = get_run_logger(), current()
    trajectories, ended = shard.value.cohorts[cohort], 0
    async with aclosing(pipeline.value.decode(shard.value, cohort)) as waves:
        async for wave, live in waves:
            progress.wave(live)
            rewritten = sum(t.status != "failed" and t.attempts[-1].role == "target" for t in live)
            log.info("wave %d: %d trajectories, %d steps from the target", wave, len(live), rewritten)
            failed = [t for t in live if t.status == "failed"]
            for t in failed:
                log.error("problem %.80r sample %d failed: %s", t.problem_id, t.sample, t.error)
            ended_before, ended = ended, sum(t.status is not None for t in trajectories)
            progress.ended(ended - ended_before, len(failed))
    progress.ended(len(trajectories) - ended, 0)


@task(name="commit", task_run_name="shard {shard_number:05d} commit", **OPAQUE)
async def commit_shard(pipeline: Opaque, shard: Opaque, shard_number: int) -> None:
    record = await pipeline.value.commit(shard.value)
    if record is None:
        get_run_logger().warning("another process has taken this shard over, and commits it")
        return
    get_run_logger().info(
        "%d solutions, %d correct, %d failed, %d rows rejected",
        *(record["counts"][name] for name in ("solutions", "correct", "failed", "rejected")),
    )
