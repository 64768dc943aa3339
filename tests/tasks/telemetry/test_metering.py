"""Meters: an engine is busy while at least one request is in flight, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.generation.metered_models import MeteredEngine, metered
from tasks.telemetry.accounts import add_up
from tasks.telemetry.lanes import Bar, Lane
from tasks.telemetry.metering import Meters, StageTimer


class Clock:
    """Microseconds, set by hand."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Held:
    """An engine whose calls end when the test says so."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[list[Any]]] = []

    async def ask(self, requests: Any, answered: Any = None) -> list[Any]:
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meters(clock: Clock) -> Meters:
    return Meters(clock)


async def started(meters: Meters, role: str, clock: Clock, takes: int = 0) -> None:
    async def start() -> Any:
        clock.now += takes

    await meters.starting(role, start)()


async def test_overlapping_calls_are_busy_once(clock: Clock, meters: Meters) -> None:
    await started(meters, "draft", clock, takes=2_000_000)
    engine = Held()
    metered_engine = MeteredEngine("draft", engine, meters)
    one = asyncio.ensure_future(metered_engine.ask([1, 2, 3]))  # type: ignore[list-item]
    await asyncio.sleep(0)
    clock.now += 1_000_000
    two = asyncio.ensure_future(metered_engine.ask([4]))  # type: ignore[list-item]
    await asyncio.sleep(0)
    clock.now += 1_000_000
    engine.calls[0].set_result([])
    await one
    clock.now += 2_000_000
    engine.calls[1].set_result([])
    await two
    clock.now += 1_000_000
    meters.decoded()
    clock.now += 9_000_000
    roles = meters.accounts()["roles"]
    assert roles == {
        "draft": {"starting": 2, "ready": 5, "busy": 4, "idle": 1, "in_flight": 2.2, "calls": 2, "requests": 4}
    }
    assert meters.drawn()["draft"] == {
        "starts": [[(0, 2_000_000, 2_000_000)]],
        "ready": [[(2_000_000, 7_000_000, 5_000_000)]],
        "work": [[(2_000_000, 6_000_000, 4_000_000)]],
        "busy": 4_000_000,
    }


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_a_call_that_fails_is_counted_once(clock: Clock, meters: Meters, end: str) -> None:
    engine = Held()
    call = asyncio.ensure_future(MeteredEngine("prm", engine, meters).ask([1, 2]))  # type: ignore[list-item]
    await asyncio.sleep(0)
    clock.now += 3_000_000
    if end == "fails":
        engine.calls[0].set_exception(RuntimeError("gone"))
    else:
        call.cancel()
    [error] = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(error, RuntimeError | asyncio.CancelledError)
    clock.now += 1_000_000
    of = meters.accounts()["roles"]["prm"]
    assert (of["busy"], of["in_flight"], of["calls"], of["requests"]) == (3, 2, 1, 2)


async def test_what_is_answered_is_in_flight_no_more(clock: Clock, meters: Meters) -> None:
    class OneByOne:
        async def ask(self, requests: Any, answered: Any) -> list[Any]:
            for number in range(len(requests)):
                clock.now += 1_000_000
                answered(number, None)
            clock.now += 5_000_000
            return [None] * len(requests)

    await MeteredEngine("prm", OneByOne(), meters).ask([1, 2, 3])  # type: ignore[arg-type,list-item]
    of = meters.accounts()["roles"]["prm"]
    assert (of["busy"], of["in_flight"]) == (3, 2)


async def test_what_is_under_way_counts_so_far(clock: Clock, meters: Meters) -> None:
    """A process that is killed leaves what was known of it then."""
    await started(meters, "draft", clock)
    with meters.call("draft", 5):
        clock.now += 2_000_000
        of = meters.accounts()["roles"]["draft"]
        assert (of["busy"], of["ready"], of["in_flight"]) == (2, 2, 5)
        assert meters.drawn()["draft"]["work"] == [[(0, 2_000_000, 2_000_000)]]


async def test_a_start_that_fails_makes_no_engine_ready(clock: Clock, meters: Meters) -> None:
    async def start() -> None:
        clock.now += 1_000_000
        raise RuntimeError("no memory")

    attempt: Callable[[], Awaitable[None]] = meters.starting("draft", start)
    with pytest.raises(RuntimeError):
        await attempt()
    clock.now += 1_000_000
    of = meters.accounts()["roles"]["draft"]
    assert (of["starting"], of["ready"]) == (1, 0)


def test_stages_of_one_thread_exclude_each_other(clock: Clock, meters: Meters) -> None:
    class Slow:
        key = "slow"

        tail: ClassVar[list[int]] = []

        def encode_steps(self, texts: list[str], numbers: object = None) -> list[list[int]]:
            clock.now += 2_000_000
            return [[1] for _ in texts]

        def decode_steps(self, ids: list[list[int]]) -> list[str]:
            clock.now += 3_000_000
            return ["" for _ in ids]

    engine: Any = Held()
    models = Models({"draft": LanguageModel(engine, Slow())}, RewardModel(engine, Slow()), SimpleNamespace(), 0)  # type: ignore[arg-type]
    timer = StageTimer(meters, "deciding")
    with timer.working():
        mine = metered(models, timer)
        clock.now += 1_000_000
        mine.writers["draft"].vocabulary.encode_steps(["a"])
        mine.writers["draft"].vocabulary.decode_steps([[1]])
        assert mine.prm is not None
        mine.prm.format.encode_steps(["a"], [0])
    assert meters.accounts()["stages"] == {"deciding": 1, "tokenizing": 7}


def test_accounts_add_up() -> None:
    one = {"roles": {"draft": {"busy": 2.0, "in_flight": 10.0, "calls": 3}}, "stages": {"deciding": 1.0}}
    two = {"roles": {"draft": {"busy": 6.0, "in_flight": 2.0, "calls": 1}, "prm": {"busy": 1.0}}, "stages": {}}
    total = add_up([one, two, {}])
    assert total["roles"]["draft"] == {"busy": 8, "in_flight": 4, "calls": 4}
    assert total["roles"]["prm"]["busy"] == 1
    assert total["stages"] == {"deciding": 1}


spells = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 5000), st.integers(0, 7)), max_size=300)


@given(spells, st.integers(8, 40))
def test_merged_bars_keep_the_time_at_work(spells: list[tuple[int, int, int]], most: int) -> None:
    lane, now = Lane(most), 0
    added: dict[int, list[Bar]] = {}
    for idle, lasts, track in spells:
        bar = Bar(now + idle, now + idle + lasts, lasts)
        now = bar.end
        added.setdefault(track, []).append(bar)
        lane.add(track, bar)
        assert sum(map(len, lane.tracks)) <= most
    for track, bars in added.items():
        merged = lane.tracks[track]
        assert sum(bar.busy for bar in merged) == sum(bar.busy for bar in bars)
        assert (merged[0].start, merged[-1].end) == (bars[0].start, bars[-1].end)
        assert all(before.end <= after.start for before, after in pairwise(merged))
        assert all(bar.start < bar.end and 0 < bar.busy <= bar.end - bar.start for bar in merged)
        long = [bar for bar in bars if bar.end - bar.start > lane.resolution]
        assert set(long) <= set(merged), "what is longer than the resolution is merged with nothing"
