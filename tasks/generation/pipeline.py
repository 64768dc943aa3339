"""Takes the open shards of a run through the engines, cohort by cohort. Knows nothing of Prefect."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from typing import Any

from tasks.decoding.cohort import decode
from tasks.decoding.models import LanguageModel, Models, RewardModel, Usage
from tasks.decoding.sweep import Memory, RememberingModels
from tasks.errors import StoreError
from tasks.generation.cohorts import InFlight
from tasks.generation.metered_models import MeteredGrader, metered
from tasks.generation.shard import Shard
from tasks.grading import Grader
from tasks.output.directory import Identity, RunDirectory, ShardTaken
from tasks.output.session import Session
from tasks.planning.plan import Plan
from tasks.problems.reader import Problem, Rejected, shards
from tasks.storage.stores import Stores
from tasks.telemetry.metering import StageTimer
from tasks.telemetry.progress import Wave


class Company:
    """What pipelines that run at the same time on the same engines share."""

    def __init__(self, plan: Plan, pipelines: int, memory: Memory) -> None:
        self.in_flight = in_flight(plan, pipelines)
        self.committing = asyncio.Lock()
        self.memory = memory


class Pipeline:
    """Claims shards, decodes their cohorts, commits them."""

    def __init__(
        self,
        plan: Plan,
        output: RunDirectory,
        identity: Identity,
        session: Session,
        engines: dict[str, Any],
        grader: Grader,
        company: Company | None = None,
    ) -> None:
        self.plan, self.output, self.identity, self.session, self.grader = plan, output, identity, session, grader
        self.models: Models = Models(
            writers={
                role: LanguageModel(engines[role], of_role.vocabulary, of_role.checkpoint.name)
                for role, of_role in plan.roles.items()
                if role != "prm"
            },
            prm=RewardModel(engines["prm"], plan.format, plan.roles["prm"].checkpoint.name) if plan.format else None,
            limits=plan.limits,
            seed=plan.config.decoding.seed,
            sampling=plan.sampling,
        )
        self.committing = company.committing if company else asyncio.Lock()
        self.in_flight = company.in_flight if company else in_flight(plan, 1)
        session.tally.going = self.in_flight.trajectories
        if company:
            self.models = RememberingModels.of(self.models, company.memory)

    async def run(
        self,
        open_shards: list[int],
        decode_cohort: Callable[[Shard, int], Awaitable[None]] | None = None,
        commit_shard: Callable[[Shard], Awaitable[Any]] | None = None,
        more: Callable[[], list[int]] | None = None,
    ) -> None:
        """Keep as many cohorts in flight as the engines' caches hold, until each of `open_shards` is committed or
        another process has it. `decode_cohort` and `commit_shard` do the work, for callers that report it; by default
        `decode`, to its end, and `commit` do. `more` is called in a thread for further shards whenever at most one
        claimed shard is left, until it returns none."""
        decode_cohort, commit_shard = decode_cohort or self._decode_to_the_end, commit_shard or self.commit

        async def work(shard: Shard, number: int, entry: int) -> None:
            try:
                if not shard.taken:
                    await decode_cohort(shard, number)
            finally:
                self.in_flight.leave(entry)
            shard.open_cohorts -= 1
            if shard.open_cohorts == 0:
                await commit(shard)

        async def commit(shard: Shard) -> None:
            with self.in_flight.commit():
                await commit_shard(shard)

        tally = self.session.tally
        await self._staged("reading", self._recall_rewards)
        try:
            async with asyncio.TaskGroup() as group:
                async for shard in self._claimed(open_shards, more):
                    tally.claimed += len(shard.trajectories)
                    if not shard.cohorts:  # all its rows were rejected
                        await commit(shard)
                    for number, cohort in enumerate(shard.cohorts):
                        entry = await self.in_flight.admit(cohort)
                        tally.begun += len(cohort)
                        group.create_task(work(shard, number, entry))
        except BaseExceptionGroup as errors:
            raise first_fault(errors) from errors
        assert not self.session.claims, f"shards {sorted(self.session.claims)[:5]} were neither committed nor given up"

    async def _claimed(self, listed: list[int], more: Callable[[], list[int]] | None) -> AsyncIterator[Shard]:
        """The shards that this process can claim, read one at a time."""
        plan = self.plan
        while listed:
            ours = functools.cache(self._claim)  # asked for each batch of rows
            reader: Iterator[tuple[int, list[Problem], list[Rejected]]] = shards(
                plan.survey,
                Stores.of(plan.config, self.output.store.retry.say),
                plan.config.run.shard_size,
                ours,
                set(listed),
            )
            while (found := await self._staged("reading", next, reader, None)) is not None:
                shard = await self._staged("preparing", Shard, *found, plan, self.output, self.identity)
                self.models.trial.note(a.reward for t in shard.trajectories for a in t.attempts)
                yield shard
            if more is None:
                return
            while len(self.session.claims) > 1:  # what is nobody's yet may soon be wanted by those whose it is
                self.in_flight.changed.clear()
                await self.in_flight.changed.wait()
            listed = await asyncio.to_thread(more)

    def _recall_rewards(self) -> None:
        """Mark a model that gave rewards in this run as one that works. The problems that are left may be those on
        which it does not."""
        if "prm" in self.plan.config.decoding.roles:
            records = self.output.records().good.values()
            self.models.trial.passed |= any(record["counts"].get("scored") for record in records)

    async def _staged(self, stage: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a call in a thread. Its time counts to a stage."""
        with self.session.meters.at(stage):
            return await asyncio.to_thread(act, *arguments)

    def _claim(self, shard: int) -> bool:
        """Claim a shard. False if another process has it, or committed it since it was listed."""
        if not self.session.claim(shard):
            return False
        if not self.output.open_shard(shard):
            self.session.give_back(shard)
            return False
        return True

    async def decode(self, shard: Shard, number: int) -> AsyncIterator[Wave]:
        """Take a cohort through its waves, and yield each. Its attempts are checkpointed every run.checkpoint_seconds,
        and when the cohort ends or is stopped."""
        with self.session.meters.cohort("waves") as timer:
            async with aclosing(self._decode(shard, number, timer)) as waves:
                async for wave in waves:
                    yield wave

    async def _decode_to_the_end(self, shard: Shard, number: int) -> None:
        async for _ in self.decode(shard, number):
            pass

    async def _decode(self, shard: Shard, number: int, timer: StageTimer) -> AsyncGenerator[Wave]:
        models = metered(self.models.metered(), timer)
        wave = shard.first_wave
        unkept: dict[str, Usage] = {}
        kept_at = time.monotonic()

        async def keep() -> None:
            nonlocal unkept, kept_at
            usage, unkept = unkept, {}
            name = f"{self.session.name}-{number:04d}-{wave:05d}"
            with timer.at("checkpointing"):
                await asyncio.to_thread(self._checkpoint, shard, number, name, usage)
            kept_at = time.monotonic()

        try:
            async for live in decode(shard.cohorts[number], models, self.plan.decoding, wave):
                for role, usage in models.usage.items():
                    unkept.setdefault(role, Usage()).merge(usage)
                    self.session.generated[role] = self.session.generated.get(role, 0) + usage.generated
                shard.add_usage(models.usage)
                done = Wave.of(wave, live)
                self.session.tally.wave(done, models.usage)
                models.usage.clear()
                if time.monotonic() - kept_at >= self.plan.config.run.checkpoint_seconds:
                    await keep()
                wave += 1
                self.in_flight.moved()
                yield done
                if shard.taken:
                    return
        finally:
            if unkept:
                await keep()

    def _checkpoint(self, shard: Shard, cohort: int, name: str, usage: dict[str, Usage]) -> None:
        """Checkpoint a cohort's new attempts, unless another process has taken the shard: two processes must not write
        one solution."""
        with self._giving_up():
            shard.taken = shard.taken or not self.session.holds(shard.number)
            if not shard.taken:
                shard.checkpoint(cohort, name, usage)

    async def commit(self, shard: Shard) -> dict[str, Any] | None:
        """Write a shard's tables and record; returns the record, or None where another process has taken the shard."""
        async with self.committing:
            committing = asyncio.ensure_future(asyncio.to_thread(self._commit, shard))
            try:
                record = await asyncio.shield(committing)
            except asyncio.CancelledError:
                self.grader.close()
                with suppress(Exception):
                    await committing  # a commit that has begun to write ends before the run lets go of its output
                raise
        if record is not None:
            self.session.tally.commit(record)
        return record

    def _commit(self, shard: Shard) -> dict[str, Any] | None:
        try:
            with self._giving_up(), StageTimer(self.session.meters, "committing").working() as timer:
                if shard.taken:
                    return None
                record = shard.commit(MeteredGrader(self.grader, timer), lambda: self.session.holds(shard.number))
                self.session.committed += 1
                return record
        except ShardTaken:
            return None
        finally:
            self.session.forget(shard.number)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """If the store failed for longer than the run's patience, do not wait for it again while the run ends."""
        try:
            yield
        except StoreError:
            self.output.store.retry.patience = 0.0
            raise


def in_flight(plan: Plan, pipelines: int) -> InFlight:
    """Room for the cohorts of so many pipelines of the same plan."""
    decoding = plan.config.decoding
    flight = replace(plan.flight, cohorts=plan.flight.cohorts * pipelines)
    return InFlight(flight, decoding.max_tokens, decoding.paths)


def first_fault(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first fault of a group that is not itself a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Look for cycles a hundredth as often while the block runs.

    A wave makes thousands of objects that live for as long as their shard and hold no cycles, beside the hundreds of
    thousands that the imports left. Python's usual pace, a look for every 700 new ones, took a fifth of the core's
    time; what lies in cycles (exceptions, futures) is little and can wait.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100 * usual[0], *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
