"""The main flow: problems in, solutions and per-step provenance out."""

from __future__ import annotations

import asyncio
import time
from asyncio import to_thread
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import summary
from flows.interruption import watch_again
from flows.progress import current
from schemas.config import Config
from tasks import claims, timeline
from tasks.calibration.settled import settled
from tasks.claims import DEAD, Owner, Session
from tasks.completion import complete, finish, take_up
from tasks.config_file import absolute
from tasks.engines import open_engines, prepare
from tasks.errors import on_one_line
from tasks.garbage import collected_rarely
from tasks.grading import Grader
from tasks.metering import Meters
from tasks.pipeline import Pipeline
from tasks.plan import Plan, make_plan
from tasks.run_directory import Identity, RunDirectory
from tasks.store import Store

OPAQUE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


POLL = 5.0
"""Seconds between looks at shards that other processes make."""


@flow(name="generate", flow_run_name="{config.decoding.method} to {config.output.path}", validate_parameters=True)
async def generate(config: Config, retry_failed: bool = False) -> dict[str, Any]:
    """Write solutions for every usable problem of `config.input`; returns the run's manifest.

    Run again on the same output it goes on where it stopped; several on one output share its shards. With
    `retry_failed`, the rows of a finished run that failed are taken up again, and no others. Raises UserError for
    mistakes that the user can mend, StoreError and EngineError for faults that outlasted the run's patience.
    """
    watch_again()
    progress = current()
    started, meters = time.monotonic(), Meters()
    config = absolute(config)  # a deployment's parameters come as they were written
    log = get_run_logger()

    def warn(text: str) -> None:
        log.warning("%s", on_one_line(text))
        progress.say(text)

    output = RunDirectory(Store(config.output.path, config.storage, config.run.store_patience, warn))
    await to_thread(output.check_same, config)
    if await to_thread(output.manifest) is None:
        prepare({config.model(role).engine.kind for role in config.roles})
    progress.say("reading the input and the models' configurations")
    with meters.at("planning"):
        plan = await plan_run(Opaque(config), Opaque(warn))
    log.info("%s usable problems in %s shards", plan.survey.usable, plan.shards)

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
            engines_took += await fill(plan, output, identity, session, free, warn)

        async def wait(others: dict[int, Owner]) -> None:
            await wait_for(others, output.store)

        records = await complete(plan, output, identity, session, make, wait)
        plan = await to_thread(settled, plan, output.store)
        await to_thread(timeline.draw, output.store, warn)
        seconds = {"total": round(time.monotonic() - started, 3), "engines": round(engines_took, 3)}
        finishing = asyncio.ensure_future(to_thread(finish, plan, output, identity, session, records, seconds))
        try:
            manifest = await asyncio.shield(finishing)
        except asyncio.CancelledError:
            await asyncio.wait([finishing])  # what has begun to be tidied up is tidied up
            raise
    await acreate_markdown_artifact(
        markdown=summary.markdown(manifest, output.store.path()),
        key="stepwave-summary",
        description=f"Run {identity.run_id}",
    )
    return manifest


async def fill(
    plan: Plan,
    output: RunDirectory,
    identity: Identity,
    session: Session,
    open_shards: list[int],
    warn: Callable[[str], None],
) -> float:
    """Open the engines and commit what this process gets hold of; returns the seconds of the engines' start."""
    progress, began = current(), time.monotonic()
    specs = [role.engine for role in plan.roles.values()]
    vocabularies = {role: of_role.vocabulary for role, of_role in plan.roles.items()}
    run = plan.config.run
    meters = session.meters
    async with open_engines(
        specs,
        vocabularies,
        progress.say,
        warn,
        run.engine_restarts,
        run.engine_patience,
        meters.starting,
    ) as engines:
        engines_took = time.monotonic() - began
        records = await to_thread(output.records)
        done = sum(record["counts"]["solutions"] for n, record in records.good.items() if n not in open_shards)
        company = None
        if plan.config.decoding.auto:
            from flows.settling import settle  # which runs cohorts as this flow does

            plan, company = await settle(plan, output, engines, meters, warn)
        progress.begin(plan.survey.usable * plan.config.decoding.samples, done)
        with Grader() as grader, collected_rarely():
            pipeline = Pipeline(plan, output, identity, session, engines, grader, company)
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


class Opaque:
    """Carries an argument to a task past Prefect, which would walk through it."""

    def __init__(self, value: Any) -> None:
        self.value = value


@task(name="plan", task_run_name="plan the run", **OPAQUE)
async def plan_run(config: Opaque, warn: Opaque) -> Plan:
    return await to_thread(make_plan, config.value, warn.value)


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
