"""The main flow: problems in, solutions and per-step provenance out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import summary
from flows.progress import current
from schemas.config import Config
from tasks import lease
from tasks.config_file import absolute
from tasks.engines import open_engines
from tasks.grading import Grader
from tasks.pipeline import Pipeline
from tasks.plan import Plan, make_plan
from tasks.run_directory import Identity, RunDirectory
from tasks.totals import describe

OPAQUE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@flow(name="generate", flow_run_name="{config.decoding.method} to {config.output.path}", validate_parameters=True)
async def generate(config: Config) -> dict[str, Any]:
    """Write solutions for every usable problem of `config.input`; returns the run's manifest.

    Run again on the same output it goes on where it stopped. Raises UserError for mistakes that the user can mend.
    """
    progress = current()
    started = time.monotonic()
    config = absolute(config)  # a deployment's parameters come as they were written
    log = get_run_logger()
    output = RunDirectory(config)
    output.check_same(None)
    progress.say("reading the input and the models' configurations")
    plan = await plan_run(Opaque(config))
    log.info("%s usable problems in %s shards", plan.survey.usable, plan.shards)

    identity = output.claim(plan.survey.fingerprint)
    records, damaged = output.records()
    if (manifest := output.manifest()) is not None and len(records) == plan.shards:
        progress.say("this run is complete: nothing to do")
        return manifest

    async with lease.hold(output.store) as session:
        if manifest is not None:
            output.reopen(identity)
        records, damaged = output.records()
        for fault in damaged:
            log.warning("%s: the shard is made again", fault)
            progress.say(f"{fault}: the shard is made again")
        if records:
            progress.say(f"{len(records)} of {plan.shards} shards are done already")
        engines_took = 0.0
        if len(records) < plan.shards:
            engines_took = await fill(plan, output, identity, session, records)
        seconds = {"total": round(time.monotonic() - started, 3), "engines": round(engines_took, 3)}
        manifest = output.finish(identity, describe(plan, records, seconds))
    await acreate_markdown_artifact(
        markdown=summary.markdown(manifest, output.store.path()),
        key="stepwave-summary",
        description=f"Run {identity.run_id}",
    )
    return manifest


async def fill(
    plan: Plan, output: RunDirectory, identity: Identity, session: str, records: dict[int, dict[str, Any]]
) -> float:
    """Open the engines and commit every shard that is not in `records`; returns the seconds of the engines' start."""
    progress, began = current(), time.monotonic()
    specs = [role.engine for role in plan.roles.values()]
    vocabularies = {role: of_role.vocabulary for role, of_role in plan.roles.items()}
    async with open_engines(specs, plan.sampling, vocabularies, progress.say) as engines:
        engines_took = time.monotonic() - began
        done = sum(record["counts"]["solutions"] for record in records.values())
        progress.begin(plan.survey.usable * plan.config.decoding.samples, done)
        with Grader() as grader:
            pipeline = Pipeline(plan, output, identity, session, engines, grader, records)
            await pipeline.run(
                lambda shard, cohort: decode_cohort(Opaque(pipeline), Opaque(shard), shard.number, cohort),
                lambda shard: commit_shard(Opaque(pipeline), Opaque(shard), shard.number),
            )
    return engines_took


class Opaque:
    """Carries an argument to a task past Prefect, which would walk through it."""

    def __init__(self, value: Any) -> None:
        self.value = value


@task(name="plan", task_run_name="plan the run", **OPAQUE)
async def plan_run(config: Opaque) -> Plan:
    return await asyncio.to_thread(make_plan, config.value)


@task(name="decode", task_run_name="shard {shard_number:05d} cohort {cohort}", **OPAQUE)
async def decode_cohort(pipeline: Opaque, shard: Opaque, shard_number: int, cohort: int) -> None:
    log, progress = get_run_logger(), current()
    trajectories, ended = shard.value.cohorts[cohort], 0
    async for wave, live in pipeline.value.decode(shard.value, cohort):
        progress.wave(live)
        rewritten = sum(t.status != "failed" and t.attempts[-1].attempt > 0 for t in live)
        log.info("wave %d: %d trajectories, %d steps from the target", wave, len(live), rewritten)
        failed = [t for t in live if t.status == "failed"]
        for t in failed:
            log.error("problem %.80r sample %d failed: %s", t.problem_id, t.sample, t.error)
        ended_before, ended = ended, sum(t.status is not None for t in trajectories)
        progress.ended(ended - ended_before, len(failed))
    progress.ended(len(trajectories) - ended, 0)


@task(name="commit", task_run_name="shard {shard_number:05d} commit", **OPAQUE)
async def commit_shard(pipeline: Opaque, shard: Opaque, shard_number: int) -> None:
    counts = (await pipeline.value.commit(shard.value))["counts"]
    get_run_logger().info(
        "%d solutions, %d correct, %d failed, %d rows rejected",
        *(counts[name] for name in ("solutions", "correct", "failed", "rejected")),
    )
