"""Where trajectories meet: what they ask of a role's engine at the same time goes to it as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Generic, TypeVar

from tasks.decoding.requests import InferenceEngine, Request
from tasks.errors import EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")
Read = tuple[Item, Request[Any] | None, Any]
"""An item, the request that was made of it, and its answer or Failure; both None where it needs none."""


class _Call:
    """Items whose results one caller waits for."""

    __slots__ = ("future", "left", "results")

    def __init__(self, items: int) -> None:
        self.results: list[Any] = [None] * items
        self.left = items
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


Timed = Callable[[], AbstractContextManager[Any]]

_Place = tuple[Any, _Call, int]
"""An item, its call, and its number there."""


class Batching(Generic[Item, Result]):
    """One role's engine, asked by many callers. What they ask within one turn of the event loop is one batch. Each
    answer goes to its caller when it comes, whatever the rest of its batch waits for."""

    def __init__(
        self,
        engine: InferenceEngine,
        prepare: Callable[[list[Item]], Sequence[Request[Any] | None]],
        read: Callable[[list[Read[Item]]], list[Result]],
        timed: Timed = nullcontext,
    ) -> None:
        """`prepare` makes the requests of items, in order: None for one that needs no answer. `read` makes results of
        what was answered, in order. An error that either raises is raised to the callers. `timed` surrounds both, and
        what callers do at once with their results."""
        self.engine, self.prepare, self.read, self.timed = engine, prepare, read, timed
        self._asked: list[_Place] = []
        self._answered: list[tuple[_Place, Request[Any] | None, Any]] = []
        self._batches: set[_Batch] = set()

    async def ask(self, items: Sequence[Item]) -> list[Result]:
        """The results of items, in order, once all are there. Raises EngineError as `InferenceEngine.ask`."""
        if not items:
            return []
        call = _Call(len(items))
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._send)
        self._asked += [(item, call, i) for i, item in enumerate(items)]
        try:
            return await call.future
        except asyncio.CancelledError:
            self._drop()
            raise

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        places = [place for place in asked if not place[1].future.done()]  # the others' callers have gone
        if not places:
            return
        batch = _Batch(places)
        self._batches.add(batch)
        batch.task = asyncio.ensure_future(self._exchange(batch))

    async def _exchange(self, batch: _Batch) -> None:
        waiting = batch.waiting
        try:
            with self.timed():
                requests = self.prepare([item for item, _, _ in batch.places])
            asked = [i for i, request in enumerate(requests) if request is not None]

            def answered(number: int, answer: Any) -> None:
                i = asked[number]
                if waiting[i]:
                    waiting[i] = False
                    self._hear(batch.places[i], requests[i], answer)

            if len(asked) < len(requests):
                for i, request in enumerate(requests):
                    if request is None:
                        waiting[i] = False
                        self._hear(batch.places[i], None, None)
            if asked:
                some = [request for request in requests if request is not None]
                for number, answer in enumerate(await self.engine.ask(some, answered)):
                    answered(number, answer)
        except BaseException as error:
            # a caller who is told of a cancellation that it did not ask for would end as if all were well
            stray = isinstance(error, asyncio.CancelledError)
            fault = EngineError("it gave up requests that nobody had cancelled") if stray else error
            for (_, call, _), waits in zip(batch.places, waiting, strict=True):
                if waits:
                    call.fail(fault)
            if not isinstance(error, Exception):
                raise
        finally:
            self._batches.discard(batch)

    def _hear(self, place: _Place, request: Request[Any] | None, answer: Any) -> None:
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._answered.append((place, request, answer))

    def _deliver(self) -> None:
        """Hand on what was answered within one turn of the event loop."""
        answered, self._answered = self._answered, []
        span = ExitStack()
        span.enter_context(self.timed())
        try:
            results = self.read([(item, request, answer) for (item, _, _), request, answer in answered])
        except Exception as error:
            for (_, call, _), _, _ in answered:
                call.fail(error)
        else:
            for ((_, call, i), _, _), result in zip(answered, results, strict=True):
                call.results[i] = result
                call.left -= 1
                if not call.left and not call.future.done():
                    call.future.set_result(call.results)
        asyncio.get_running_loop().call_soon(span.close)  # once the callers have had their turn

    def _drop(self) -> None:
        """Give up batches for which nobody waits any more."""
        for batch in list(self._batches):
            if all(call.future.done() for _, call, _ in batch.places):
                assert batch.task is not None
                batch.task.cancel()


class Gathering(Generic[Item]):
    """What callers hand in within one turn of the event loop is done at once."""

    def __init__(self, act: Callable[[list[Item]], None], timed: Timed = nullcontext) -> None:
        self.act, self.timed = act, timed
        self._items: list[Item] = []
        self._callers: list[asyncio.Future[None]] = []

    async def do(self, items: Sequence[Item]) -> None:
        """Returns once `act` has had the items. Raises what it raises."""
        loop = asyncio.get_running_loop()
        if not self._items:
            loop.call_soon(self._do)
        self._items += items
        caller: asyncio.Future[None] = loop.create_future()
        self._callers.append(caller)
        await caller

    def _do(self) -> None:
        items, self._items = self._items, []
        callers, self._callers = self._callers, []
        fault: Exception | None = None
        try:
            with self.timed():
                self.act(items)
        except Exception as error:
            fault = error
        for caller in callers:
            if not caller.done():
                caller.set_result(None) if fault is None else caller.set_exception(fault)


class _Batch:
    """Items that went out together."""

    __slots__ = ("places", "task", "waiting")

    def __init__(self, places: list[_Place]) -> None:
        self.places = places
        self.waiting = [True] * len(places)
        self.task: asyncio.Task[None] | None = None
