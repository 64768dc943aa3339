"""Of the engines that share a device one is awake at a time, and every call is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.decoding.requests import StepRequest, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.turns import JOINING, InTurn, Turns

from .fakes import World, answer, ask, play

ROLES = ("draft", "prm", "target")


class Device:
    """What is awake on it, and what was asked."""

    def __init__(self) -> None:
        self.awake: set[str] = set()
        self.swaps = 0
        self.asked: list[str] = []


class Fake:
    """An engine that takes as long as it is told to, and fails where it is told to."""

    def __init__(self, role: str, device: Device) -> None:
        self.role, self.device, self.calls = role, device, 0
        self.broken = False

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure]:
        assert self.device.awake == {self.role}
        self.calls += 1
        self.device.asked.append(self.role)
        try:
            await asyncio.sleep(asks[0].seed)
            assert self.device.awake == {self.role}
            if self.broken:
                raise RuntimeError("broken")
        finally:
            self.calls -= 1
        return [answer(a) for a in asks]

    async def sleep(self) -> None:
        assert self.device.awake == {self.role}
        assert not self.calls
        await asyncio.sleep(3)
        self.device.awake.remove(self.role)

    async def wake(self) -> None:
        assert not self.device.awake
        self.device.swaps += 1
        self.device.awake.add(self.role)  # it takes memory from the first moment on
        await asyncio.sleep(3)


def shared() -> tuple[Device, Turns, dict[str, Fake]]:
    device = Device()
    fakes = {role: Fake(role, device) for role in ROLES}
    return device, Turns(fakes), fakes


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ROLES),
            st.integers(0, 40),  # when it is asked
            st.integers(0, 20),  # how long the answer takes
            st.integers(1, 9),  # requests
            st.none() | st.integers(0, 30),  # when the caller goes away
        ),
        max_size=30,
    ),
    st.sets(st.sampled_from(ROLES)),
)
def test_never_two_are_awake_and_all_are_answered(calls: list[tuple[Any, ...]], broken: set[str]) -> None:
    device, turns, fakes = shared()
    for role in broken:
        fakes[role].broken = True

    async def call(role: str, when: int, long: int, size: int, patience: int | None) -> None:
        await asyncio.sleep(when)
        asks = [ask(n, seed=long) for n in range(size)]
        try:
            async with asyncio.timeout(patience):
                assert await InTurn(role, turns).ask(asks) == [answer(a) for a in asks]
                assert role not in broken
        except TimeoutError:
            assert patience is not None
        except RuntimeError:
            assert role in broken

    async def scene() -> None:
        async with asyncio.timeout(10_000):
            await asyncio.gather(*(call(*each) for each in calls))
            assert turns.calls == 0
            assert not any(turns.waiting.values())
            await asyncio.sleep(20)  # a change-over that nobody waits for any more comes to its end
        await turns.close()

    play(scene())
    assert len(device.awake) <= 1


def test_a_turn_lasts_until_its_role_has_nothing_in_flight() -> None:
    """Trajectories out of step by less than a batch come to move together: one swap a role and step."""
    device, turns, _ = shared()

    async def trajectory(late: int) -> None:
        await asyncio.sleep(late)
        for _ in range(5):
            for role in ROLES:
                await InTurn(role, turns).ask([ask(0, seed=10)])

    async def scene() -> None:
        await asyncio.gather(*(trajectory(late) for late in range(4)))

    play(scene())
    assert device.swaps == 5 * len(ROLES)


def test_a_role_in_demand_does_not_starve_the_others() -> None:
    _, turns, _ = shared()

    async def scene() -> None:
        done = asyncio.Event()

        async def busy(role: str) -> None:
            while not done.is_set():
                await InTurn(role, turns).ask([ask(0, seed=2)] * 100)

        crowd = [asyncio.ensure_future(busy(role)) for role in ("draft", "draft", "draft", "prm", "prm")]
        await asyncio.sleep(50)
        async with asyncio.timeout(20 * JOINING):
            await InTurn("target", turns).ask([ask(0, seed=1)])
        done.set()
        await asyncio.gather(*crowd)

    play(scene())


def test_more_requests_go_first() -> None:
    device, turns, _ = shared()

    async def scene() -> None:
        first = asyncio.ensure_future(InTurn("draft", turns).ask([ask(0, seed=9)]))
        await asyncio.sleep(5)
        few = asyncio.ensure_future(InTurn("prm", turns).ask([ask(0)]))
        many = asyncio.ensure_future(InTurn("target", turns).ask([ask(0)] * 5))
        await asyncio.gather(first, few, many)

    play(scene())
    assert device.asked == ["draft", "target", "prm"]


def test_closing_breaks_a_change_over_off() -> None:
    _, turns, _ = shared()

    async def scene() -> None:
        call = asyncio.ensure_future(InTurn("draft", turns).ask([ask(0)]))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])
        assert turns.change is not None
        await turns.close()
        assert turns.change is None
        assert turns.awake is None

    play(scene())


# --- with engines that die


class Sleepy(World):
    """Of a role whose engines sleep; tells when one is awake beside another role's."""

    def __init__(self, role: str, awake: dict[str, int]) -> None:
        super().__init__()
        self.role, self.on_device = role, awake
        self.disobedient = False

    async def start(self) -> Any:
        assert not any(n for role, n in self.on_device.items() if role != self.role)
        self.on_device[self.role] = 1
        engine: Any = await super().start()

        async def sleep() -> None:
            if self.disobedient:
                raise RuntimeError("no")
            self.on_device[self.role] = 0

        async def wake() -> None:
            assert not any(self.on_device.values())
            self.on_device[self.role] = 1

        close = engine.close

        async def closed() -> None:
            await close()
            self.on_device[self.role] = 0

        engine.sleep, engine.wake, engine.close = sleep, wake, closed
        return engine


@pytest.mark.parametrize("disobedient", [False, True])
@pytest.mark.parametrize("deaths", [set(), {3}, {10, 11}, {4, 8, 12, 16, 20}])
def test_a_restarted_engine_is_awake_by_itself(deaths: set[int], disobedient: bool) -> None:
    """Also one that died between its turns, or that would not sleep."""
    awake = dict.fromkeys(("draft", "target"), 0)
    worlds = {role: Sleepy(role, awake) for role in awake}

    async def scene() -> None:
        engines = {role: world.supervisor() for role, world in worlds.items()}
        for engine in engines.values():
            await engine.open()
            await engine.sleep()
        worlds["draft"].deaths = set(deaths)
        worlds["target"].disobedient = disobedient
        turns = Turns(engines)

        async def trajectory(first: int) -> None:
            asks = [ask(problem) for problem in range(first, first + 5)]
            for _ in range(3):
                for role in engines:
                    assert await InTurn(role, turns).ask(asks) == [answer(a) for a in asks]

        await asyncio.gather(trajectory(0), trajectory(5))
        await turns.close()
        for engine in engines.values():
            await engine.close()

    play(scene())
    assert worlds["draft"].started == 1 + len([n for n in deaths if n <= 30])
