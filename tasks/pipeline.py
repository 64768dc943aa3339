"""The open shards of a run, taken through the engines cohort by cohort. Knows nothing of Prefect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from tasks.decoding.cohort import decode
from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.decoding.trajectory import Trajectory
from tasks.errors import EngineError
from tasks.grading import Grader
from tasks.plan import Plan
from tasks.problems import Problem, Rejected, shards
from tasks.run_directory import Identity, RunDirectory
from tasks.shard import Shard


class Pipeline:
    """Reads shards, decodes their cohorts, commits them."""

    def __init__(
        self,
        plan: Plan,
        output: RunDirectory,
        identity: Identity,
        session: str,
        engines: dict[str, Any],
        grader: Grader,
        records: dict[int, dict[str, Any]],
    ) -> None:
        """`session`: a name that no other process on this output has; `records`: the shards committed so far, and
        those that this object commits."""
        self.plan, self.output, self.identity, self.session = plan, output, identity, session
        self.grader, self.records = grader, records
        self.models = Models(
            writers={
                role: LanguageModel(engines[role], of_role.vocabulary)
                for role, of_role in plan.roles.items()
                if role != "prm"
            },
            prm=RewardModel(engines["prm"], plan.format) if "prm" in engines else None,
            limits=plan.limits,
            seed=plan.config.decoding.seed,
        )
        self.committing = asyncio.Lock()

    async def run(
        self,
        decode_cohort: Callable[[Shard, int], Awaitable[None]],
        commit_shard: Callable[[Shard], Awaitable[None]],
    ) -> None:
        """Keep `run.cohorts` cohorts in flight until every shard is committed; the two calls do the work."""
        cohorts: asyncio.Queue[tuple[Shard, int] | None] = asyncio.Queue(maxsize=1)
        width = self.plan.config.run.cohorts

        async def feed() -> None:
            async for shard in self._open_shards():
                if not shard.cohorts:  # all its rows were rejected
                    await commit_shard(shard)
                for number in range(len(shard.cohorts)):
                    await cohorts.put((shard, number))
            for _ in range(width):
                await cohorts.put(None)

        async def work() -> None:
            while (item := await cohorts.get()) is not None:
                shard, number = item
                try:
                    await decode_cohort(shard, number)
                except asyncio.CancelledError:
                    if (task := asyncio.current_task()) and task.cancelling():
                        raise
                    raise EngineError("an engine gave up requests that nobody had cancelled") from None
                shard.open_cohorts -= 1
                if shard.open_cohorts == 0:
                    await commit_shard(shard)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed())
                for _ in range(width):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        missing = set(range(self.plan.shards)) - set(self.records)
        assert not missing, f"shards {sorted(missing)[:5]} were neither committed nor failed"

    async def _open_shards(self) -> AsyncIterator[Shard]:
        """Shards without a record, read one at a time."""
        plan = self.plan
        reader: Iterator[tuple[int, list[Problem], list[Rejected]]] = shards(
            plan.survey, plan.config.storage, plan.config.run.shard_size, lambda number: number not in self.records
        )
        while (found := await asyncio.to_thread(next, reader, None)) is not None:
            yield await asyncio.to_thread(Shard, *found, plan, self.output, self.identity)

    async def decode(self, shard: Shard, number: int) -> AsyncIterator[tuple[int, list[Trajectory]]]:
        """Take one cohort through its waves; yields each wave's number and trajectories once they are kept."""
        models = self.models.metered()
        wave = shard.first_wave
        async for live in decode(shard.cohorts[number], models, self.plan.config.decoding, wave):
            usage = dict(models.usage)
            models.usage.clear()
            shard.add_usage(usage)
            await asyncio.to_thread(shard.save_wave, f"{self.session}-{number:04d}-{wave:05d}", live, usage)
            yield wave, live
            wave += 1

    async def commit(self, shard: Shard) -> dict[str, Any]:
        """Write a shard's tables and record; returns the record."""
        async with self.committing:
            committing = asyncio.ensure_future(asyncio.to_thread(shard.commit, self.grader))
            try:
                record = await asyncio.shield(committing)
            except asyncio.CancelledError:
                self.grader.close()
                with contextlib.suppress(Exception):
                    await committing  # a commit that has begun to write ends before the run lets go of its output
                raise
        self.records[shard.number] = record
        return record


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first fault of a group that is not itself a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
