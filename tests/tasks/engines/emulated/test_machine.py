"""Engines on cards that they share, or have alone."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import pytest

from tasks.decoding.requests import ScoreRequest, StepRequest
from tasks.engines.emulated.machine import Machine
from tasks.errors import UserError

from .conftest import Open

READ = [ScoreRequest(array("i", range(8192)))]


async def side_by_side(opened: Open, *engines: dict[str, Any]) -> tuple[list[float], Machine]:
    """When each of some engines has answered, all of them asked at once."""
    some = [await opened(f"role{number}", **of) for number, of in enumerate(engines)]
    machine = some[0].machine

    async def when(engine: Any) -> float:
        await engine.ask(READ)
        return machine.time

    times = await asyncio.gather(*map(when, some))
    for engine in some:
        await engine.close()
    return list(times), machine


def test_engines_on_cards_of_their_own_do_not_wait_for_each_other(opened: Open) -> None:
    alone, _ = asyncio.run(side_by_side(opened, {}))
    apart, machine = asyncio.run(side_by_side(opened, {}, {"device_ids": [1]}))
    assert apart == pytest.approx([alone[0]] * 2)
    assert machine.figures()["cards"] == pytest.approx({0: alone[0], 1: alone[0]})


def test_engines_that_share_a_card_share_its_time(opened: Open) -> None:
    (alone,), _ = asyncio.run(side_by_side(opened, {}))
    times, machine = asyncio.run(side_by_side(opened, {}, {}, {}))
    assert times == pytest.approx([3 * alone] * 3)
    figures = machine.figures()
    assert figures["cards"] == pytest.approx({0: 3 * alone})
    assert [of["busy"] for of in figures["roles"].values()] == pytest.approx([alone] * 3)


def test_a_card_is_the_others_when_one_has_nothing_left_to_do(opened: Open) -> None:
    small = {"parameters": 0.76e9, "layers": 4, "kv_bytes_per_token": 8_192}
    (short,), _ = asyncio.run(side_by_side(opened, small))
    (long,), _ = asyncio.run(side_by_side(opened, {}))
    times, _ = asyncio.run(side_by_side(opened, small, {}))
    assert times == pytest.approx([2 * short, short + long])


def test_an_engine_on_several_cards_goes_as_fast_as_on_the_busiest(opened: Open) -> None:
    wide = {"tensor_parallel_size": 2, "device_ids": [0, 1]}
    (alone,), _ = asyncio.run(side_by_side(opened, wide))
    times, machine = asyncio.run(side_by_side(opened, wide, {"device_ids": [1]}, {"device_ids": [2]}))
    assert times[0] == pytest.approx(2 * alone)
    assert machine.figures()["roles"]["role0"]["busy"] == pytest.approx(2 * alone)
    assert machine.figures()["cards"][0] == pytest.approx(2 * alone)
    assert times[2] < times[1]


def test_moving_weights_takes_the_link_and_empties_the_cache(opened: Open) -> None:
    async def scene() -> tuple[float, int]:
        engine = await opened()
        await engine.ask(READ)
        began = engine.machine.time
        await engine.sleep()
        await engine.wake()
        moved = engine.machine.time - began
        (answer,) = await engine.ask(READ)
        await engine.close()
        return moved, answer.cached  # type: ignore[union-attr]

    moved, cached = asyncio.run(scene())
    assert moved == pytest.approx(2 * 2 * 7.6e9 / (0.625 * 64e9))
    assert cached == 0


def test_a_move_that_nobody_waits_for_any_more_ends_all_the_same(opened: Open) -> None:
    async def scene() -> None:
        moving, other = await opened(), await opened("prm")
        asleep = asyncio.create_task(moving.sleep())
        await asyncio.sleep(0)
        asleep.cancel()
        await asyncio.gather(asleep, return_exceptions=True)
        await other.ask(READ * 20)
        assert other.machine.figures()["roles"]["draft"]["busy"] == pytest.approx(0.38, abs=0.01)
        for engine in (moving, other):
            await engine.close()

    asyncio.run(scene())


def test_one_time_passes_for_all(opened: Open) -> None:
    async def scene() -> None:
        engine = await opened()
        with pytest.raises(UserError, match=r"models\.prm\.engine\.speed: all emulated engines"):
            await opened("prm", speed=2.0)
        await engine.close()
        other = await opened("prm", speed=2.0)  # nobody else is there any more
        await other.close()

    asyncio.run(scene())


def test_the_same_again_takes_the_same_time(opened: Open) -> None:
    def once() -> list[float]:
        async def ask(engine: Any, number: int) -> float:
            for step in range(5):
                await engine.ask([StepRequest(array("i", [number, step] * 20), 50, 0)])
                await asyncio.to_thread(sum, range(1000 * number))
            return engine.machine.time

        async def scene() -> list[float]:
            engines = [await opened(role) for role in ("draft", "target")]
            times = await asyncio.gather(*(ask(engines[n % 2], n) for n in range(20)))
            for engine in engines:
                await engine.close()
            return list(times)

        return asyncio.run(scene())

    assert once() == once()
