"""Several engines that serve one role. All requests about a problem go to the same engine, which holds its prefixes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tasks.decoding.models import Ask, Look, Scored, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.supervision import Supervisor


class Replicas:
    """Engines of one role as the decoding core sees them: one `Writer`, or for the PRM one `Scorer`."""

    def __init__(self, engines: list[Supervisor]) -> None:
        self.engines = engines

    async def write(self, asks: Sequence[Ask]) -> list[Written | Failure]:
        """As `Writer.write`."""
        return await self._split("write", asks)

    async def score(self, looks: Sequence[Look]) -> list[Scored | Failure]:
        """As `Scorer.score`."""
        return await self._split("score", looks)

    async def sleep(self) -> None:
        """As `Supervisor.sleep`, for every replica."""
        await asyncio.gather(*(engine.sleep() for engine in self.engines))

    async def wake(self) -> None:
        """As `Supervisor.wake`, for every replica."""
        await asyncio.gather(*(engine.wake() for engine in self.engines))

    async def forget(self) -> None:
        """As `Supervisor.forget`, for every replica."""
        await asyncio.gather(*(engine.forget() for engine in self.engines))

    async def _split(self, call: str, requests: Sequence[Ask | Look]) -> list[Any]:
        """Ask each replica for its part at the same time; results in the order of the requests. If one raises an error,
        the others' parts are dropped."""
        at: list[list[int]] = [[] for _ in self.engines]
        for i, request in enumerate(requests):
            at[request.home % len(at)].append(i)
        results: list[Any] = [None] * len(requests)

        async def part(engine: Supervisor, some: list[int]) -> None:
            for i, result in zip(some, await getattr(engine, call)([requests[i] for i in some]), strict=True):
                results[i] = result

        try:
            async with asyncio.TaskGroup() as group:
                for engine, some in zip(self.engines, at, strict=True):
                    if some:
                        group.create_task(part(engine, some))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return results
