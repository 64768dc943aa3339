"""Where a process's time goes: how long each engine is at work, and each stage of the run beside the engines.

An engine is busy while at least one request is in flight at it, and idle otherwise from its readiness to the end of
decoding. A stage is busy while at least one thread is in it. So no figure exceeds the time on the clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tasks.telemetry.accounts import Accounts
from tasks.telemetry.lanes import Bar, Lane

T = TypeVar("T")


def microseconds() -> int:
    """Microseconds of a clock that never goes back; its zero means nothing."""
    return time.monotonic_ns() // 1000


class Meter:
    """Adds up the time in which at least one thing is in flight. Times are whole microseconds."""

    def __init__(self) -> None:
        self.busy = 0
        self.load = 0
        """Things in flight, integrated over time."""
        self.flight = 0
        self.began = 0
        """When the present spell of work began."""
        self._changed = 0

    def change(self, now: int, things: int) -> Bar | None:
        """Count so many things in, or out where negative. Returns the spell of work that this ends."""
        self._advance(now)
        before, self.flight = self.flight, self.flight + things
        assert self.flight >= 0, "more went out than came in"
        if before == 0:
            self.began = now
        if self.flight or not before:
            return None
        return Bar(self.began, now, now - self.began)

    def read(self, now: int) -> tuple[int, int]:
        """Time busy, and load, up to now."""
        self._advance(now)
        return self.busy, self.load

    def _advance(self, now: int) -> None:
        self.busy += (now - self._changed) * (self.flight > 0)
        self.load += (now - self._changed) * self.flight
        self._changed = now


class RoleMeter:
    """What is metered of a role's engine."""

    def __init__(self) -> None:
        self.calls = self.requests = 0
        self.work, self.starting, self.ready = Meter(), Meter(), Meter()
        self.lane, self.starts, self.ready_bars = Lane(), Lane(), Lane()
        """Bars of its work; of its starts; of its readiness."""

    def call(self, now: int, requests: int) -> None:
        """A call with so many requests begins, at a time in microseconds."""
        self.calls += 1
        self.requests += requests
        self.work.change(now, requests)

    def returned(self, now: int, requests: int) -> None:
        """So many requests are answered, or given up."""
        if bar := self.work.change(now, -requests):
            self.lane.add(0, bar)

    def accounts(self, now: int) -> dict[str, float]:
        """The role's figures up to a time in microseconds; times in seconds."""
        busy, load = self.work.read(now)
        ready = self.ready.read(now)[0]
        return {
            "starting": seconds(self.starting.read(now)[0]),
            "ready": seconds(ready),
            "busy": seconds(busy),
            "idle": seconds(max(0, ready - busy)),
            "in_flight": round(load / busy, 1) if busy else 0.0,
            "calls": self.calls,
            "requests": self.requests,
        }

    def drawn(self, now: int) -> dict[str, Any]:
        """Its bars up to now, those of what is under way included."""
        lane, starts, ready_bars = self.lane.copy(), self.starts.copy(), self.ready_bars.copy()
        for bars, meter in ((lane, self.work), (starts, self.starting), (ready_bars, self.ready)):
            if meter.flight:
                bars.add(0, Bar(meter.began, now, now - meter.began))
        busy = self.work.read(now)[0]
        return {"starts": starts.tracks, "ready": ready_bars.tracks, "work": lane.tracks, "busy": busy}


class Meters:
    """One process's meters. Threads share them; `clock` gives microseconds."""

    def __init__(self, clock: Callable[[], int] = microseconds) -> None:
        self.clock, self.zero = clock, clock()
        self.roles: dict[str, RoleMeter] = {}
        self.stages: dict[str, Meter] = {}
        self.lock = threading.Lock()

    def now(self) -> int:
        """Microseconds since the meters began."""
        return self.clock() - self.zero

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The block is part of a stage."""
        self._stage(stage, 1)
        try:
            yield
        finally:
            self._stage(stage, -1)

    def _stage(self, stage: str, things: int) -> None:
        with self.lock:
            self.stages.setdefault(stage, Meter()).change(self.now(), things)

    @contextmanager
    def call(self, role: str, requests: int) -> Iterator[Callable[[], None]]:
        """The block waits for so many requests to a role's engine. Gives a function to call when one of them is
        answered; the rest count as in flight until the end of the block."""
        with self.lock:
            meter = self.roles.setdefault(role, RoleMeter())
            meter.call(self.now(), requests)
        left = requests

        def answered() -> None:
            nonlocal left
            left -= 1
            with self.lock:
                meter.returned(self.now(), 1)

        try:
            yield answered
        finally:
            if left:
                with self.lock:
                    meter.returned(self.now(), left)

    def starting(self, role: str, start: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """`start` with its time metered; once it has succeeded the role is ready."""

        async def metered() -> T:
            with self.lock:
                meter = self.roles.setdefault(role, RoleMeter())
                meter.starting.change(self.now(), 1)
            try:
                engine = await start()
            finally:
                with self.lock:
                    if bar := meter.starting.change(now := self.now(), -1):
                        meter.starts.add(0, bar)
            with self.lock:
                if not meter.ready.flight:
                    meter.ready.change(now, 1)
            return engine

        return metered

    def mark_ready(self, roles: Iterable[str]) -> None:
        """Engines of these roles are ready already: an earlier run started them."""
        with self.lock:
            for role in roles:
                meter = self.roles.setdefault(role, RoleMeter())
                if not meter.ready.flight:
                    meter.ready.change(self.now(), 1)

    def decoded(self) -> None:
        """Decoding has ended: no role is ready any more."""
        with self.lock:
            for meter in self.roles.values():
                if meter.ready.flight and (bar := meter.ready.change(self.now(), -1)):
                    meter.ready_bars.add(0, bar)

    def accounts(self) -> Accounts:
        """Seconds and counts so far, what is under way included."""
        with self.lock:
            now = self.now()
            return {
                "roles": {role: meter.accounts(now) for role, meter in self.roles.items()},
                "stages": {stage: seconds(meter.read(now)[0]) for stage, meter in self.stages.items()},
            }

    def drawn(self) -> dict[str, Any]:
        """Role to its bars so far."""
        with self.lock:
            return {role: meter.drawn(self.now()) for role, meter in self.roles.items()}


class StageTimer:
    """The work of one thread. It is in one stage, or for a while in another."""

    def __init__(self, meters: Meters, stage: str) -> None:
        self.meters, self.stage = meters, stage
        self.working_now = False
        self.elsewhere = 0

    @contextmanager
    def working(self) -> Iterator[StageTimer]:
        """The block is part of the stage, unless it is within such a block already."""
        if self.working_now:
            yield self
            return
        self.working_now = True
        self.meters._stage(self.stage, 1)
        try:
            yield self
        finally:
            self.working_now = False
            self.meters._stage(self.stage, -1)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The block is part of another stage."""
        away = self.working_now and not self.elsewhere
        self.elsewhere += 1
        if away:
            self.meters._stage(self.stage, -1)
        try:
            with self.meters.at(stage):
                yield
        finally:
            self.elsewhere -= 1
            if away:
                self.meters._stage(self.stage, 1)


def seconds(time: int) -> float:
    """Microseconds as seconds, to the millisecond."""
    return round(time / 1e6, 3)
