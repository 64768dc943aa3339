"""Takes the open shards of a run through the engines, each trajectory at its own pace. Knows nothing of Prefect."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from tasks.decoding.decode import advance
from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.decoding.sweep import Memory, RememberingModels
from tasks.decoding.trajectory import Trajectory
from tasks.errors import StoreError
from tasks.generation.in_flight import InFlight
from tasks.generation.metered_models import MeteredGrader, metered
from tasks.generation.shard import News, Shard
from tasks.grading import Grader
from tasks.output.directory import Identity, RunDirectory, ShardTaken
from tasks.output.session import Session
from tasks.planning.plan import Plan
from tasks.problems.reader import Problem, Rejected, shards
from tasks.storage.stores import Stores
from tasks.telemetry.metering import StageTimer
from tasks.telemetry.progress import Round

T = TypeVar("T")

WAITING = 16
"""Shards that may wait for their slowest trajectories beside those that fill the flight: each holds memory."""
DECIDING = "deciding"
"""The stage in which what engines answered becomes what they are asked next."""


class PipelineGroup:
    """What pipelines that run at the same time on the same engines share."""

    def __init__(self, plan: Plan, pipelines: int, memory: Memory) -> None:
        self.in_flight = in_flight(plan, pipelines)
        self.committing = asyncio.Lock()
        self.memory = memory


class Pipeline:
    """Claims shards, decodes their trajectories, commits them."""

    def __init__(
        self,
        plan: Plan,
        output: RunDirectory,
        identity: Identity,
        session: Session,
        engines: dict[str, Any],
        grader: Grader,
        group: PipelineGroup | None = None,
    ) -> None:
        self.plan, self.output, self.identity, self.session, self.grader = plan, output, identity, session, grader
        models = Models(
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
        models = metered(models, StageTimer(session.meters, DECIDING))
        self.models = RememberingModels(models, group.memory) if group else models
        self.committing = group.committing if group else asyncio.Lock()
        self.in_flight = group.in_flight if group else in_flight(plan, 1)
        of_shard = plan.config.run.shard_size * plan.config.decoding.samples
        self.most_open = WAITING + -(-self.in_flight.flight.trajectories // of_shard)
        """Shards that are claimed and not committed, at most."""
        session.tally.going = self.in_flight.trajectories
        session.tally.usage = self.models.usage

    async def run(
        self,
        open_shards: list[int],
        decode_shard: Callable[[Shard], Awaitable[None]] | None = None,
        commit_shard: Callable[[Shard], Awaitable[Any]] | None = None,
        more: Callable[[], list[int]] | None = None,
    ) -> None:
        """Keep as many trajectories in flight as the engines' caches hold, in the order of the problems, until each of
        `open_shards` is committed or another process has it. `decode_shard` and `commit_shard` do the work, for callers
        that report it; by default `decode` and `commit` do. `more` is called in a thread for further shards whenever at
        most one claimed shard is left, until it returns none."""
        decode_shard, commit_shard = decode_shard or self.decode, commit_shard or self.commit

        async def work(shard: Shard) -> None:
            if shard.trajectories:  # else all its rows were rejected
                try:
                    await decode_shard(shard)
                finally:
                    shard.begun.set()
                assert shard.taken or all(t.status for t in shard.trajectories), "a trajectory was given up unasked"
            with self.in_flight.commit():
                await commit_shard(shard)

        await self._staged("reading", self._recall_rewards)
        try:
            async with asyncio.TaskGroup() as tasks:
                async for shard in self._claimed(open_shards, more):
                    self.session.tally.claimed += len(shard.trajectories)
                    tasks.create_task(work(shard))
                    if shard.trajectories:
                        await shard.begun.wait()
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
            while await self._fewer_than(self.most_open) and (
                found := await self._staged("reading", next, reader, None)
            ):
                shard = await self._staged("preparing", Shard, *found, plan, self.output, self.identity)
                self.models.trial.note(a.reward for t in shard.trajectories for a in t.attempts)
                yield shard
            if more is None:
                return
            await self._fewer_than(2)  # what is nobody's yet may soon be wanted by those whose it is
            listed = await asyncio.to_thread(more)

    async def _fewer_than(self, shards: int) -> bool:
        """Wait until fewer shards than so many are claimed and not committed; returns True."""
        while len(self.session.claims) >= shards:
            self.in_flight.changed.clear()
            await self.in_flight.changed.wait()
        return True

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

    async def decode(
        self,
        shard: Shard,
        moved: Callable[[Trajectory, Round], None] = lambda trajectory, done: None,
        over: Callable[[Trajectory], None] = lambda trajectory: None,
    ) -> None:
        """Take a shard's trajectories to their ends, in flight as there is room. `moved` hears of each round, `over` of
        each end. Attempts are checkpointed every run.checkpoint_seconds, and when the shard is decoded or decoding is
        stopped."""
        shard.kept_at = time.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                for trajectory in shard.trajectories:
                    if shard.taken:
                        break
                    await self.in_flight.admit(trajectory)
                    self.session.tally.begun += 1
                    tasks.create_task(self._decode(shard, trajectory, moved, over))
                shard.begun.set()
        finally:
            await self._keep(shard)

    async def _decode(
        self,
        shard: Shard,
        trajectory: Trajectory,
        moved: Callable[[Trajectory, Round], None],
        over: Callable[[Trajectory], None],
    ) -> None:
        try:
            while not shard.taken and await advance(trajectory, self.models, self.plan.decoding):
                moved(trajectory, self.session.tally.round(trajectory))
                if time.monotonic() - shard.kept_at >= self.plan.config.run.checkpoint_seconds:
                    await self._keep(shard)
            if trajectory.status is not None:
                over(trajectory)
        finally:
            self.in_flight.leave(trajectory)

    async def _keep(self, shard: Shard) -> None:
        """Checkpoint what is new in a shard, unless another process has taken it: two processes must not write one
        solution."""
        shard.kept_at = math.inf  # nobody else keeps meanwhile
        for _ in range(2 if shard.unwritten else 1):  # what could not be written, and then what is new since
            if news := shard.news():
                with self.session.meters.at("checkpointing"):
                    await to_its_end(asyncio.to_thread(self._checkpoint, shard, news))
        shard.kept_at = time.monotonic()

    def _checkpoint(self, shard: Shard, news: News) -> None:
        with self._giving_up():
            shard.taken = shard.taken or not self.session.holds(shard.number)
            if not shard.taken:
                shard.checkpoint(self.session.name, news)

    async def commit(self, shard: Shard) -> dict[str, Any] | None:
        """Write a shard's tables and record; returns the record, or None where another process has taken the shard."""
        async with self.committing:
            record = await to_its_end(asyncio.to_thread(self._commit, shard), self.grader.close)
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


async def to_its_end(work: Awaitable[T], hurry: Callable[[], None] = lambda: None) -> T:
    """The result of work that is not left half done: what has begun to write ends before the run lets go of its output.
    A cancelled caller calls `hurry`, and waits."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        hurry()
        with suppress(Exception):
            await working
        raise


def in_flight(plan: Plan, pipelines: int) -> InFlight:
    """Room for the trajectories of so many pipelines of the same plan."""
    decoding = plan.config.decoding
    flight = replace(plan.flight, trajectories=plan.flight.trajectories * pipelines)
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

    Decoding makes thousands of objects that live for as long as their shard and hold no cycles, beside the hundreds of
    thousands that the imports left. Python's usual pace, a look for every 700 new ones, took a fifth of the core's
    time; what lies in cycles (exceptions, futures) is little and can wait.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100 * usual[0], *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
