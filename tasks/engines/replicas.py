"""Several engines that serve one role. All requests about a problem go to the same engine, which holds its prefixes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tasks.decoding.requests import Answer, Answered, Request, unheard
from tasks.decoding.trajectory import Failure
from tasks.engines.supervision import Supervisor


class Replicas:
    """Engines of one role as the decoding core sees them: one `InferenceEngine`."""

    def __init__(self, engines: list[Supervisor]) -> None:
        self.engines = engines

    async def sleep(self) -> None:
        """As `Supervisor.sleep`, for every replica."""
        await asyncio.gather(*(engine.sleep() for engine in self.engines))

    async def wake(self) -> None:
        """As `Supervisor.wake`, for every replica."""
        await asyncio.gather(*(engine.wake() for engine in self.engines))

    async def reset_prefix_cache(self) -> None:
        """As `Supervisor.reset_prefix_cache`, for every replica."""
        await asyncio.gather(*(engine.reset_prefix_cache() for engine in self.engines))

    async def ask(self, requests: Sequence[Request[Answer]], answered: Answered = unheard) -> list[Answer | Failure]:
        """Ask each replica for its part at the same time; answers in the order of the requests. If one raises an error,
        the others' parts are dropped."""
        at: list[list[int]] = [[] for _ in self.engines]
        for i, request in enumerate(requests):
            at[request.affinity % len(at)].append(i)
        results: list[Any] = [None] * len(requests)

        async def part(engine: Supervisor, some: list[int]) -> None:
            def told(number: int, answer: Any) -> None:
                answered(some[number], answer)

            for i, result in zip(some, await engine.ask([requests[i] for i in some], told), strict=True):
                results[i] = result

        try:
            async with asyncio.TaskGroup() as group:
                for engine, some in zip(self.engines, at, strict=True):
                    if some:
                        group.create_task(part(engine, some))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return results
