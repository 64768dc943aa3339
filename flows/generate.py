"""The main flow: problems in, solutions and per-step provenance out."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import summary
from flows.progress import Progress, current
from schemas.config import Config
from tasks import lease
from tasks.decoding.cohort import decode
from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.decoding.trajectory import Trajectory
from tasks.engines import open_engines
from tasks.errors import UserError
from tasks.grading import Grader
from tasks.plan import Plan, make_plan
from tasks.problems import Problem, Rejected, shards
from tasks.run_directory import Identity, RunDirectory
from tasks.shard import Shard
from tasks.totals import add_up, flops

OPAQUE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@flow(name="generate", flow_run_name="{config.decoding.method} to {config.output.path}", validate_parameters=True)
async def generate(config: Config) -> dict[str, Any]:
    """Write solutions for every usable problem of `config.input`; returns the run's manifest.

    Run again on the same output it goes on where it stopped. Raises UserError for mistakes that the user can mend.
    """
    progress = current()
    started = time.monotonic()
    log = get_run_logger()
    output = RunDirectory(config)
    output.check_same(None)
    progress.say("reading the input and the models' configurations")
    plan = await plan_run(Opaque(config))
    log.info("%s usable problems in %s shards", plan.survey.usable, plan.shards)
    if plan.survey.usable == 0:
        reasons = ", ".join(f"{n} x {reason}" for reason, n in plan.survey.rejected().items()) or "it has no rows"
        raise UserError(f"input.path: {config.input.path} holds no usable problem ({reasons})")

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
        engine_seconds = 0.0
        if len(records) < plan.shards:
            began = time.monotonic()
            specs = [role.engine for role in plan.roles.values()]
            vocabularies = {str(role): of_role.vocabulary for role, of_role in plan.roles.items()}
            async with open_engines(specs, plan.sampling, vocabularies, progress.say) as engines:
                engine_seconds = time.monotonic() - began
                with Grader() as grader:
                    progress.begin(plan.survey.usable * config.decoding.samples, _solutions(records))
                    job = Job(plan, output, identity, session, engines, grader, progress, records)
                    await job.run()
        seconds = {"total": round(time.monotonic() - started, 3), "engines": round(engine_seconds, 3)}
        manifest = output.finish(identity, describe(plan, records, seconds))
    await acreate_markdown_artifact(
        markdown=summary.markdown(manifest, output.store.path()),
        key="stepwave-summary",
        description=f"Run {identity.run_id}",
    )
    return manifest


class Opaque:
    """Carries an argument to a task past Prefect, which would walk through it."""

    def __init__(self, value: Any) -> None:
        self.value = value


@task(name="plan", task_run_name="plan the run", **OPAQUE)
async def plan_run(config: Opaque) -> Plan:
    return await asyncio.to_thread(make_plan, config.value)


class Job:
    """The open shards of a run, taken through engines cohort by cohort."""

    def __init__(
        self,
        plan: Plan,
        output: RunDirectory,
        identity: Identity,
        session: str,
        engines: dict[str, Any],
        grader: Grader,
        progress: Progress,
        records: dict[int, dict[str, Any]],
    ) -> None:
        self.plan, self.output, self.identity, self.session = plan, output, identity, session
        self.grader, self.progress, self.records = grader, progress, records
        config = plan.config
        self.models = Models(
            writers={
                role: LanguageModel(engines[role], of_role.vocabulary)
                for role, of_role in plan.roles.items()
                if role != "prm"
            },
            prm=RewardModel(engines["prm"], plan.format) if "prm" in engines else None,
            limits=plan.limits,
            seed=config.decoding.seed,
        )
        self.committing = asyncio.Lock()

    async def run(self) -> None:
        """Keep `run.cohorts` cohorts in flight until every shard is committed."""
        cohorts: asyncio.Queue[tuple[Shard, int] | None] = asyncio.Queue(maxsize=1)
        width = self.plan.config.run.cohorts

        async def feed() -> None:
            async for shard in self._open_shards():
                if not shard.cohorts:  # all its rows were rejected
                    await commit_shard(Opaque(self), Opaque(shard), shard.number)
                for number in range(len(shard.cohorts)):
                    await cohorts.put((shard, number))
            for _ in range(width):
                await cohorts.put(None)

        async def work() -> None:
            while (item := await cohorts.get()) is not None:
                shard, number = item
                await decode_cohort(Opaque(self), Opaque(shard), shard.number, number)
                if shard.open_cohorts == 0:
                    await commit_shard(Opaque(self), Opaque(shard), shard.number)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed())
                for _ in range(width):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise first_of(errors) from errors

    async def _open_shards(self) -> AsyncIterator[Shard]:
        """Shards without a record, read one at a time."""
        plan = self.plan
        config = plan.config
        reader: Iterator[tuple[int, list[Problem], list[Rejected]]] = shards(
            plan.survey, config.storage, config.run.shard_size, lambda number: number not in self.records
        )
        while (found := await asyncio.to_thread(next, reader, None)) is not None:
            yield await asyncio.to_thread(Shard, *found, plan, self.output, self.identity)

    async def decode(self, shard: Shard, number: int) -> None:
        """Take one cohort through its waves, keeping each."""
        cohort = shard.cohorts[number]
        models = self.models.metered()
        config = self.plan.config.decoding
        wave = shard.first_wave
        async for live in decode(cohort, models, config, wave):
            usage = dict(models.usage)
            models.usage.clear()
            shard.add_usage(usage)
            name = f"{self.session}-{number:04d}-{wave:05d}"
            await asyncio.to_thread(shard.save_wave, name, live, usage)
            self.progress.wave(live)
            self._tell(shard.number, number, wave, live)
            wave += 1
        shard.open_cohorts -= 1
        self.progress.ended(cohort)

    def _tell(self, shard: int, cohort: int, wave: int, live: list[Trajectory]) -> None:
        rewritten = sum(len(t.attempts) > 1 and t.attempts[-1].attempt > 0 for t in live)
        failed = [t for t in live if t.status == "failed"]
        log = get_run_logger()
        log.info(
            "shard %05d cohort %d wave %d: %d trajectories, %d steps from the target",
            *(shard, cohort, wave, len(live), rewritten),
        )
        for t in failed:
            log.error("shard %05d: problem %.80r sample %d failed: %s", shard, t.problem_id, t.sample, t.error)

    async def commit(self, shard: Shard) -> None:
        async with self.committing:
            self.records[shard.number] = await asyncio.to_thread(shard.commit, self.grader)


@task(name="decode", task_run_name="shard {shard_number:05d} cohort {cohort}", **OPAQUE)
async def decode_cohort(job: Opaque, shard: Opaque, shard_number: int, cohort: int) -> None:
    await job.value.decode(shard.value, cohort)


@task(name="commit", task_run_name="shard {shard_number:05d} commit", **OPAQUE)
async def commit_shard(job: Opaque, shard: Opaque, shard_number: int) -> None:
    await job.value.commit(shard.value)
    counts = job.value.records[shard_number]["counts"]
    get_run_logger().info(
        "shard %05d committed: %d solutions, %d correct, %d failed, %d rows rejected",
        *(shard_number, counts["solutions"], counts["correct"], counts["failed"], counts["rejected"]),
    )


def describe(plan: Plan, records: dict[int, dict[str, Any]], seconds: dict[str, float]) -> dict[str, Any]:
    """The manifest's content beside the run's identity."""
    counts, computed = add_up(records)
    params = {str(role): of_role.params for role, of_role in plan.roles.items()}
    return {
        "method": plan.config.decoding.method,
        "samples": plan.config.decoding.samples,
        "shards": plan.shards,
        "input": {
            "files": [{"path": f.path, "rows": f.rows, "sha256": f.sha256} for f in plan.survey.files],
            "rows": plan.survey.rows,
            "usable": plan.survey.usable,
            "rejected": plan.survey.rejected(),
        },
        "models": {
            role: {"model": of_role.checkpoint.name, "params": of_role.params, "window": of_role.engine.window}
            for role, of_role in plan.roles.items()
        },
        "counts": counts,
        "computed": computed,
        "flops": flops(counts, computed, params),
        "seconds": seconds,
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first fault of a group that is not itself a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _solutions(records: dict[int, dict[str, Any]]) -> int:
    return sum(record["counts"]["solutions"] for record in records.values())
