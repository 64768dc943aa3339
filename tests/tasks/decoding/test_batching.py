"""Requests of many callers meet in batches, and each answer goes on when it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tasks.decoding.batching import Batching, Gathering
from tasks.errors import EngineError


class Held:
    """An engine whose answers come when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.tellers: list[Callable[[int, Any], None]] = []
        self.ends: list[asyncio.Future[list[Any]]] = []
        self.cancelled = 0

    async def ask(self, requests: Sequence[Any], answered: Callable[[int, Any], None]) -> list[Any]:
        self.batches.append(list(requests))
        self.tellers.append(answered)
        self.ends.append(asyncio.get_running_loop().create_future())
        try:
            return await self.ends[-1]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def batching(engine: Held) -> Batching[int, str]:
    """Items below 0 need no answer."""
    return Batching(
        engine,  # type: ignore[arg-type]
        lambda items: [item if item >= 0 else None for item in items],  # type: ignore[misc]
        lambda read: [f"{item}: {answer}" for item, _, answer in read],
    )


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_turn_is_one_batch_and_each_gets_its_own() -> None:
    engine = Held()
    meeting = batching(engine)
    callers = [asyncio.ensure_future(meeting.ask(items)) for items in ([1, 2], [3], [], [-4], [5, -6])]
    await turns()
    assert engine.batches == [[1, 2, 3, 5]]
    assert [caller.done() for caller in callers] == [False, False, True, True, False]
    engine.tellers[0](2, "c")  # long before the others
    await turns()
    assert await callers[1] == ["3: c"]
    assert not callers[0].done()
    engine.ends[0].set_result(["a", "b", "c", "d"])
    assert await asyncio.gather(*callers) == [["1: a", "2: b"], ["3: c"], [], ["-4: None"], ["5: d", "-6: None"]]


async def test_what_nobody_waits_for_is_not_asked_any_more() -> None:
    engine = Held()
    meeting = batching(engine)
    early = asyncio.ensure_future(meeting.ask([1]))
    await asyncio.sleep(0)
    early.cancel()  # before its batch has gone out
    await turns()
    assert engine.batches == []
    late = [asyncio.ensure_future(meeting.ask([n])) for n in (2, 3)]
    await turns()
    late[0].cancel()
    await turns()
    assert engine.cancelled == 0, "another still waits"
    late[1].cancel()
    await turns()
    assert engine.cancelled == 1


@pytest.mark.parametrize("error", [EngineError("it is gone"), asyncio.CancelledError()])
async def test_an_engines_error_reaches_all_that_wait_and_no_other(error: BaseException) -> None:
    engine = Held()
    meeting = batching(engine)
    callers = [asyncio.ensure_future(meeting.ask([n])) for n in (1, 2, 3)]
    await turns()
    engine.tellers[0](0, "a")
    engine.ends[0].set_exception(error)
    first, *others = await asyncio.gather(*callers, return_exceptions=True)
    assert first == ["1: a"]
    assert [type(other) for other in others] == [EngineError] * 2


async def test_what_is_handed_in_in_one_turn_is_done_at_once() -> None:
    done: list[list[int]] = []

    def act(items: list[int]) -> None:
        done.append(items)
        if 9 in items:
            raise ValueError("nine")

    gathering = Gathering(act)
    await asyncio.gather(gathering.do([1, 2]), gathering.do([3]))
    found = await asyncio.gather(gathering.do([4]), gathering.do([9]), return_exceptions=True)
    assert done == [[1, 2, 3], [4, 9]]
    assert [str(error) for error in found] == ["nine", "nine"]
