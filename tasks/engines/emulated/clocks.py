"""Time on emulated cards: the wall's, several times as fast, or one that passes only while everybody waits.

A clock has one appointment at a time: the next moment at which something happens on a card.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from tasks.errors import UserError

T = TypeVar("T")
TURNS = 2
"""Turns of the event loop in which nothing is left to do, before it counts as waiting: timers and sockets are looked at
once a turn."""
PATIENCE = 30.0
"""Seconds after which a thread is taken to wait for something itself."""


class Clock(Protocol):
    """Seconds of the emulation, from 0."""

    def now(self) -> float:
        """The time."""

    def wake(self, at: float | None) -> None:
        """Call `act` at this time, or as soon as may be if it is over, instead of at what was said before."""


class WallClock:
    """`speed` seconds pass in each second of the event loop's time."""

    def __init__(self, act: Callable[[], None], speed: float) -> None:
        self.act, self.speed = act, speed
        self.loop = asyncio.get_running_loop()
        self.zero = self.loop.time()
        self.kept = 0.0
        """The last appointment that was kept. Rounding must not make it a later one."""
        self.timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """As `Clock.now`."""
        return max(self.kept, (self.loop.time() - self.zero) * self.speed)

    def wake(self, at: float | None) -> None:
        """As `Clock.wake`."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if at is None else self.loop.call_at(self.zero + at / self.speed, self._keep, at)

    def _keep(self, at: float) -> None:
        self.kept = max(self.kept, at)
        self.act()


class IdleClock:
    """Time that stands still while anything is done, and jumps to the next appointment once all wait.

    All: the event loop has nothing to run, and none of its threads (`asyncio.to_thread`) is at work. So what is
    measured is the cards' time alone, and the same on any machine. What is waited for elsewhere, such as a server,
    does not stop it.
    """

    def __init__(self, act: Callable[[], None]) -> None:
        """Raises UserError where the event loop does not tell whether it has something to run."""
        self.act = act
        self.loop = asyncio.get_running_loop()
        if not hasattr(self.loop, "_ready"):
            raise UserError(
                f"engine.speed: null needs asyncio's own event loop, not {type(self.loop).__name__}: give a number"
            )
        self.threads = Threads(lambda: self.loop.call_soon_threadsafe(self._look_again))
        self.loop.set_default_executor(self.threads)
        self.time = 0.0
        self.at: float | None = None
        self.looking: asyncio.Handle | None = None
        self.quiet = 0

    def now(self) -> float:
        """As `Clock.now`."""
        return self.time

    def wake(self, at: float | None) -> None:
        """As `Clock.wake`."""
        self.at = at
        if at is not None:
            self._look_again()

    def _look_again(self) -> None:
        if self.looking is not None:
            self.looking.cancel()
        self.quiet = 0
        self.looking = self.loop.call_soon(self._look)

    def _look(self) -> None:
        """Go on to the appointment if nothing is left to do before."""
        self.looking = None
        if self.at is None:
            return
        busy = self.threads.busy()
        if busy:  # its end makes us look again
            self.looking = self.loop.call_later(busy, self._look_again)
            return
        self.quiet = 0 if self.loop._ready else self.quiet + 1  # type: ignore[attr-defined]  # there is no public word
        if self.quiet <= TURNS:
            self.looking = self.loop.call_soon(self._look)
            return
        self.time, self.at, self.quiet = max(self.time, self.at), None, 0
        self.act()


class Threads(ThreadPoolExecutor):
    """Threads of an event loop, which say when one has done its work, and handed over what came of it."""

    def __init__(self, ended: Callable[[], Any]) -> None:
        """`ended` is called in whatever thread ends some work."""
        super().__init__(thread_name_prefix="asyncio")
        self.ended = ended
        self.begun: dict[Future[Any], float] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As `ThreadPoolExecutor.submit`."""
        given: Future[T] = Future()
        self.begun[given] = time.monotonic()
        super().submit(self._work, given, fn, args, kwargs)
        return given

    def busy(self) -> float:
        """Seconds for which some thread may still count as at work; 0 where none is."""
        last = max(list(self.begun.values()), default=None)
        return 0.0 if last is None else max(0.0, last + PATIENCE - time.monotonic())

    def _work(self, given: Future[T], fn: Callable[..., T], args: Any, kwargs: Any) -> None:
        try:
            if given.set_running_or_notify_cancel():
                given.set_result(fn(*args, **kwargs))
        except BaseException as error:
            given.set_exception(error)
        finally:
            del self.begun[given]
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.ended()
