"""Time on the cards: the wall's, many times as fast, or one that passes only while everybody waits."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array

import pytest

from tasks.decoding.requests import ScoreRequest
from tasks.engines.emulated import clocks
from tasks.engines.emulated.clocks import IdleClock
from tasks.errors import UserError

from ..fakes import play
from .conftest import Open

READ = [ScoreRequest(array("i", range(8192)))]
SECONDS = 0.2543
"""What that takes."""


@pytest.mark.parametrize("speed", [1.0, 25.0])
def test_on_the_wall_cards_take_their_time(speed: float, opened: Open) -> None:
    """On a loop whose time is what timers say."""

    async def scene() -> tuple[float, float, float]:
        engine = await opened(speed=speed)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await engine.ask(READ)
        first = loop.time() - began
        await asyncio.sleep(10)
        again = loop.time()
        await engine.ask([ScoreRequest(array("i", range(1, 8193)))])
        await engine.close()
        return first, loop.time() - again, engine.machine.time

    first, second, passed = play(scene())
    seconds = first * speed
    assert seconds == pytest.approx(SECONDS, abs=1e-4)
    assert second * speed == pytest.approx(seconds)
    assert passed == pytest.approx(2 * seconds + 10 * speed)


def test_a_loop_that_is_late_does_not_hold_up_the_cards(opened: Open) -> None:
    """What a request takes is told late, but what comes after it in the engine is not later for that."""

    async def scene() -> list[float]:
        engine = await opened(speed=1.0, max_num_batched_tokens=8192)
        loop = asyncio.get_running_loop()
        began, told = loop.time(), []

        async def ask(first: int) -> None:
            await engine.ask([ScoreRequest(array("i", range(first, first + 8192)))])
            told.append(loop.time() - began)

        asks = [asyncio.create_task(ask(first)) for first in range(3)]
        await asyncio.sleep(0)
        loop.call_later(0.1, lambda: setattr(loop, "now", loop.time() + 0.5))  # the loop is busy for so long
        await asyncio.gather(*asks)
        await engine.close()
        return told

    assert play(scene()) == pytest.approx([0.6, 0.6, 3 * SECONDS], abs=1e-3)


def test_an_idle_clock_stands_still_while_threads_work(opened: Open) -> None:
    async def scene() -> tuple[float, float]:
        engine = await opened()
        asking = asyncio.create_task(engine.ask(READ))
        loop, at_work, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def work() -> float:
            loop.call_soon_threadsafe(at_work.set)
            assert release.wait(60)
            return engine.machine.time

        working = asyncio.create_task(asyncio.to_thread(work))
        await at_work.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not asking.done()
        release.set()
        before = await working
        assert not asking.done()
        await asking
        await engine.close()
        return before, engine.machine.time

    before, after = asyncio.run(scene())
    assert (before, after) == (0.0, pytest.approx(SECONDS, abs=1e-4))


def test_a_thread_that_waits_itself_does_not_hold_up_the_clock_for_ever(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "PATIENCE", 0.0)

    async def scene() -> None:
        engine = await opened()
        answered = threading.Event()
        waiting = asyncio.create_task(asyncio.to_thread(answered.wait, 60))
        await asyncio.sleep(0)
        await engine.ask(READ)
        answered.set()
        assert await waiting
        await engine.close()

    asyncio.run(scene())


def test_what_a_thread_raises_is_raised(opened: Open) -> None:
    def fail() -> None:
        raise LookupError("it fails")

    async def scene() -> None:
        engine = await opened()
        with pytest.raises(LookupError, match="it fails"):
            await asyncio.to_thread(fail)
        await engine.ask(READ)
        await engine.close()

    asyncio.run(scene())


def test_an_idle_clock_stands_still_while_tasks_go_on(opened: Open) -> None:
    async def scene() -> float:
        engine = await opened()
        asking = asyncio.create_task(engine.ask(READ))
        for _ in range(1000):
            await asyncio.sleep(0)
        began = engine.machine.time
        await asking
        await engine.close()
        return began

    assert asyncio.run(scene()) == 0.0


def test_another_kind_of_loop_is_told_to_give_a_speed() -> None:
    class Other:
        def __init__(self) -> None:
            self.time = time.monotonic

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", Other)
        with pytest.raises(UserError, match=r"engine\.speed: null needs asyncio's own event loop, not Other"):
            IdleClock(lambda: None)
