"""Restarts engines: one that dies is started again, and its unanswered requests are asked again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from tasks.decoding.requests import Answer, Answered, Request, unheard
from tasks.decoding.trajectory import Failure
from tasks.engines.spec import Died, Engine
from tasks.errors import EngineError, UserError
from tasks.models.model_files import Replaced

TOGETHER = 2
"""How often a request is asked together with others before it is suspected."""
GROUP = 16
"""Number of suspected requests that are asked at a time. Each group with a culprit costs a restart, and so does each
culprit."""
PAUSE = 5.0
"""Seconds between a start that failed and the next."""
TICKS = 10
"""Looks at an engine's progress before it counts as stalled."""


class Gate:
    """Lets calls in together, or one alone. A call that waits to be alone goes before later ones."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def company(self) -> AsyncIterator[None]:
        """Be inside together with others."""
        async with self._turn:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be inside with nobody else."""
        async with self._turn:
            await self._empty.wait()
            yield


class Supervisor:
    """A role's engine as the decoding core sees it.

    A death leaves all requests in flight unanswered, whichever caused it. They are asked again together once. If the
    engine dies again, each call in turn has the engine alone and asks in small groups, then one by one. A request on
    which the engine dies alone is given up, as a Failure. A stalled engine is killed, and treated in the same way.
    """

    def __init__(
        self,
        role: str,
        start: Callable[[], Awaitable[Engine]],
        starting: AbstractAsyncContextManager[None],
        say: Callable[[str], None],
        *,
        restarts: int,
        patience: float,
    ) -> None:
        """`start` raises UserError where the engine does not start; `starting` is held while it runs. `restarts`: how
        often it is tried again with no answer in between; `patience`: seconds that an engine with work may go without
        getting any further."""
        self.role, self.start, self.starting, self.say = role, start, starting, say
        self.restarts, self.patience = restarts, patience
        self.gate = Gate()
        self.engine: Engine | None = None
        self.fault: str | None = None
        """Why `engine` is of no use, until it is replaced."""
        self.deaths = 0
        """Deaths and failed starts since the last answer."""
        self.known: Request[Any] | None = None
        """A request that was answered: what an engine in order can do."""

    async def open(self) -> None:
        """Start the engine. Raises UserError."""
        async with self.starting:
            self.engine = await self.start()

    async def close(self) -> None:
        """Stop the engine, dead or alive."""
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.close()

    async def sleep(self) -> None:
        """Leave the device to another role; nothing is in flight. An engine that is dead, or fails to sleep, is closed.
        Its next call starts it again."""
        await self._order("sleep")

    async def wake(self) -> None:
        """Be ready to be asked again; otherwise as `sleep`."""
        await self._order("wake")

    async def reset_prefix_cache(self) -> None:
        """Drop cached prefixes; nothing is in flight. Otherwise as `sleep`."""
        await self._order("reset_prefix_cache")

    async def _order(self, order: str) -> None:
        engine = self.engine
        if engine is None:
            return  # it is started by its next call
        if engine.death is None:
            try:
                async with asyncio.timeout(self.patience):
                    await getattr(engine, order)()
            except Exception as error:
                what = order.replace("_", " ")
                self._bury(engine, Died(f"it did not {what}: {type(error).__name__} {error}".rstrip()))
            else:
                return
        else:
            self._bury(engine, engine.death)
        await self.close()

    async def ask(self, requests: Sequence[Request[Answer]], answered: Answered = unheard) -> list[Answer | Failure]:
        """As `InferenceEngine.ask`. Raises EngineError once the engine cannot be brought back."""
        results: list[Any] = [None] * len(requests)

        async def fill(some: list[int]) -> list[int]:
            """Fill in the results of some requests; returns those that the engine died on."""
            asked = [requests[i] for i in some]
            told = partial(_tell_as, some, answered)
            for i, result in zip(some, await self._ask(asked, told), strict=True):
                results[i] = result
            return [i for i in some if isinstance(results[i], Died)]

        given_up: dict[tuple[int, ...], Failure] = {}

        def unlike(some: list[int]) -> list[int]:
            """Requests whose prompt was not given up. Samples of a problem share their first prompt, and one death on
            it is enough."""
            for i in some:
                results[i] = given_up.get(_prompt(requests[i]), results[i])
            return [i for i in some if not isinstance(results[i], Failure)]

        left = list(range(len(requests)))
        for _ in range(TOGETHER):
            if left:
                async with self.gate.company():
                    left = await fill(left)
        if left:
            async with self.gate.alone():
                for start in range(0, len(left), GROUP):
                    # culprits are told from their group before the next is asked: the others' answers show that the
                    # engine works. In no order of the problems', for those that are alike tend to stand together
                    suspects = await fill(unlike(left[start : start + GROUP]))
                    for i in random.Random(0).sample(suspects, len(suspects)):
                        if unlike([i]):
                            results[i] = await self._alone(requests[i])
                        if isinstance(results[i], Failure):
                            given_up[_prompt(requests[i])] = results[i]
        return results

    async def _alone(self, request: Request[Any]) -> Any:
        """The result of one request alone: a Failure if the engine dies on it, but still works otherwise."""
        while True:
            (result,) = await self._ask([request])
            if not isinstance(result, Died):
                return result
            if self.known is None or _answered(*await self._ask([self.known])):
                return Failure(f"the engine died on this: {result.reason}")

    async def _ask(self, requests: list[Request[Any]], answered: Answered = unheard) -> list[Any]:
        """Ask a living engine once. Raises EngineError if none can be started."""
        engine = await self._living()
        results = await self._watched(engine, requests, answered)
        if self.known is None:
            self.known = next(
                (_copy(r) for r, result in zip(requests, results, strict=True) if _answered(result)), None
            )
        if died := next((result for result in results if isinstance(result, Died)), None):
            self._bury(engine, died)
        return results

    async def _watched(self, engine: Engine, requests: list[Request[Any]], answered: Answered) -> list[Any]:
        """An engine's results. An engine without progress is killed, and its call ends as after any death."""
        asking = asyncio.ensure_future(engine.ask(requests, answered))
        seen, idle = engine.progress(), 0
        try:
            # looks are counted, not seconds: a process that was suspended finds its answers before it judges
            while not (await asyncio.wait([asking], timeout=self.patience / TICKS))[0]:
                now = engine.progress()
                seen, idle = now, idle + 1 if now == seen else 0
                if idle == TICKS:
                    engine.kill(f"it gave no answer for {self.patience:g} s")
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        try:
            return asking.result()
        except (EngineError, asyncio.CancelledError) as error:  # nobody cancelled it: we came past the wait
            return [Died(str(error) or "it gave up requests that nobody had cancelled")] * len(requests)

    def _bury(self, engine: Engine, died: Died) -> None:
        """Record an engine's death once, whichever caller sees it first."""
        if engine is self.engine and self.fault is None:
            self.fault = f"the {self.role} engine died: {died}"
            self.deaths = 1 if engine.answered else self.deaths + 1
            engine.kill(died.reason)  # it may only look dead, and other calls wait for it

    async def _living(self) -> Engine:
        """The engine, started again if it has died."""
        while True:
            if self.engine is not None and self.engine.death is not None:
                self._bury(self.engine, self.engine.death)  # it died unasked: that is nobody's fault
            if self.fault is None:
                assert self.engine is not None, "open comes first, close last"
                return self.engine
            async with self.starting:
                if self.fault is not None:
                    await self._restart(self.fault)

    async def _restart(self, fault: str) -> None:
        if self.deaths > self.restarts:
            often = f"; {self.deaths} times now without an answer in between" if self.restarts else ""
            raise EngineError(fault + often)
        self.say(f"{fault}; starting it again ({self.deaths} of {self.restarts}), what is unanswered is asked again")
        if self.engine is None:  # the last start failed, or it did not sleep or wake
            await asyncio.sleep(PAUSE)
        await self.close()
        try:
            self.engine = await self.start()
            self.fault = None
        except Replaced:  # to try it again does not bring the model back
            raise
        except UserError as error:
            self.fault = str(error)
            self.deaths += 1


def _tell_as(numbers: list[int], answered: Answered, number: int, answer: Any) -> None:
    """Tell an answer under the number that its request has among others."""
    answered(numbers[number], answer)


def _answered(result: Any) -> bool:
    return not isinstance(result, Failure | Died)


def _prompt(request: Request[Any]) -> tuple[int, ...]:
    return tuple(request.prompt)


def _copy(request: Request[Any]) -> Request[Any]:
    """A request's prompt belongs to a trajectory, which goes on."""
    return replace(request, prompt=request.prompt[:])  # type: ignore[type-var]  # requests are dataclasses
