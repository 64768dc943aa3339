"""The emulated cards of a process, and the engines on them.

Engines that share a card get equal parts of its time while they have work: engines are processes, and a card that is
not told otherwise gives those that have kernels waiting slices of its time in turns, some milliseconds each. So an
iteration takes as often as long as there are engines at work beside it, and none of the card's time is lost. An engine
on several cards goes as fast as on the one that it shares with most.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tasks.engines.emulated.batch import Batch, Job
from tasks.engines.emulated.clocks import Clock, IdleClock, WallClock
from tasks.errors import UserError

NANOSECOND = 1e-9


@dataclass(eq=False)
class Station:
    """An engine on its cards."""

    role: str
    cards: tuple[int, ...]
    batch: Batch
    left: float | None = None
    """Seconds of the present iteration that are left, on cards of its own; None where it does nothing."""
    wake: float | None = None
    """When to begin, where it does nothing."""
    moving: asyncio.Future[None] | None = None
    """While it moves its weights between cards and host."""
    busy: float = field(default=0.0, init=False)
    """Seconds of all iterations, on cards of its own."""


class Machine:
    """All cards of one event loop."""

    def __init__(self, speed: float | None) -> None:
        """`speed`: seconds that pass in a second; None: time passes only while everybody waits."""
        self.speed, self.loop = speed, asyncio.get_running_loop()
        self.clock: Clock = IdleClock(self._go_on) if speed is None else WallClock(self._go_on, speed)
        self.stations: list[Station] = []
        self.time = 0.0
        """Up to which all is done."""
        self.users: Counter[int] = Counter()
        """Card to the engines at work on it."""
        self.busy: defaultdict[int, float] = defaultdict(float)
        """Card to the seconds in which one was."""
        self.gone: list[Station] = []

    def join(self, role: str, cards: Iterable[int], batch: Batch) -> Station:
        """An engine starts."""
        station = Station(role, tuple(cards), batch)
        self.stations.append(station)
        return station

    def leave(self, station: Station) -> None:
        """An engine ends, with all that it has under way."""
        self._stop(station)
        self.stations.remove(station)
        self.gone.append(station)
        self._appoint()
        if not self.stations:
            MACHINES.pop(self.loop, None)

    def ask(self, station: Station, jobs: Iterable[Job]) -> None:
        """Requests come to an engine."""
        now = self.clock.now()
        station.batch.ask(now, jobs)
        if station.left is None and station.wake is None:
            station.wake = now
            self._appoint()

    async def move(self, station: Station) -> None:
        """Move an engine's weights between cards and host, one way."""
        assert station.left is None, "an engine that is at work keeps its weights"
        self._go_on()
        self._advance(self.clock.now())
        station.moving = asyncio.get_running_loop().create_future()
        self._work(station, station.batch.costs.swap_seconds)
        self._appoint()
        await station.moving

    def figures(self) -> dict[str, Any]:
        """Seconds so far; of those the seconds in which each card was at work; and for each role card-seconds at work
        and what its engines did."""
        roles: dict[str, dict[str, float]] = {}
        for station in [*self.gone, *self.stations]:
            did = vars(station.batch.count) | {"busy": station.busy * len(station.cards)}
            known = roles.setdefault(station.role, dict.fromkeys(did, 0))
            roles[station.role] = {what: known[what] + more for what, more in did.items()}
        return {"seconds": self.time, "cards": dict(sorted(self.busy.items())), "roles": roles}

    def _go_on(self) -> None:
        """Do all that has happened until now, in order."""
        now = self.clock.now()
        ended: list[Job] = []
        while (at := self._next()) is not None and at <= now:
            self._advance(at)
            for station in self.stations:
                if station.left is not None and station.left <= NANOSECOND:
                    ended += self._end(station)
                    self._begin(station)
                elif station.wake is not None and station.wake <= at:
                    self._begin(station)
        self._appoint()
        for job in ended:
            job.done(job)

    def _next(self) -> float | None:
        """When something happens next."""
        times = [station.wake for station in self.stations if station.wake is not None]
        times += [
            self.time + station.left * self._slices(station) for station in self.stations if station.left is not None
        ]
        return min(times, default=None)

    def _slices(self, station: Station) -> int:
        """Engines among which the time of its cards is divided."""
        return max(self.users[card] for card in station.cards)

    def _advance(self, at: float) -> None:
        passed = at - self.time
        if passed <= 0:
            return
        for station in self.stations:
            if station.left is not None:
                station.left -= passed / self._slices(station)
        for card, users in self.users.items():
            if users:
                self.busy[card] += passed
        self.time = at

    def _begin(self, station: Station) -> None:
        seconds = station.batch.begin(self.time)
        station.wake = station.batch.later(self.time) if seconds is None else None
        if seconds is not None:
            self._work(station, seconds)

    def _work(self, station: Station, seconds: float) -> None:
        station.left = seconds
        station.busy += seconds
        self.users.update(station.cards)

    def _end(self, station: Station) -> list[Job]:
        self._stop(station)
        if station.moving is None:
            return station.batch.end()
        if not station.moving.done():  # nor was it cancelled
            station.moving.set_result(None)
        station.moving = None
        return []

    def _stop(self, station: Station) -> None:
        if station.left is not None:
            self.users.subtract(station.cards)
        station.left = station.wake = None

    def _appoint(self) -> None:
        self.clock.wake(self._next())


MACHINES: dict[asyncio.AbstractEventLoop, Machine] = {}
"""Those on which an engine stands."""


def machine_here(role: str, speed: float | None) -> Machine:
    """The machine of the running event loop: the one on which engines stand, or a new one. Raises UserError if its
    time passes at another speed."""
    loop = asyncio.get_running_loop()
    machine = MACHINES.get(loop)
    if machine is None:
        machine = MACHINES[loop] = Machine(speed)
    if machine.speed != speed:
        raise UserError(f"models.{role}.engine.speed: all emulated engines of a run need the same")
    return machine
