"""SIGINT and SIGTERM: a run keeps what it has, stops, and leaves with 130 and the command that goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

from flows.safe_path import apart
from flows.terminal.text import say

GRACE = 25.0
"""Seconds that a run has to stop by itself: machines that are taken away give 30."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
T = TypeVar("T")


class Interruption:
    """What the signals do to a command that is a flow, from its start to its end.

    An interrupted run stops by itself. If it cannot, does not stop in time (such as with a store that is away), or is
    interrupted twice, it ends as if it had been killed; that loses only the waves since the last checkpoint.
    """

    def __init__(self, again: str) -> None:
        """`again`: the command that goes on."""
        self.again = again
        self.stopped = self.over = False
        self.by: int | None = None
        """The signal that stopped it."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.run_: asyncio.Future[Any] | None = None
        self.watch()

    def watch(self) -> None:
        """Take the signals; again where something else has taken them."""
        for number in SIGNALS:
            signal.signal(number, self._arrived)

    def run(self, make: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
        """Run a flow to its end; SystemExit where it was interrupted."""

        async def main() -> dict[str, Any]:
            self.loop = asyncio.get_running_loop()
            self.run_ = asyncio.ensure_future(make())
            return await self.run_

        global _current
        _current = self
        try:
            result = asyncio.run(main())
        except BaseException:
            if self.stopped:
                say(self._advice())
                raise SystemExit(130) from None
            raise
        finally:
            _current = None
            self.loop = None
        self.over = True  # from here on there is nothing to interrupt
        return result

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. It runs between two instructions of the main thread, so it must not wait, nor print in
        the usual way."""
        if self.over:
            return
        if self.stopped or self.loop is None:
            self._leave()
        self.stopped, self.by = True, number
        deadline = threading.Timer(GRACE, self._leave)
        deadline.daemon = True
        deadline.start()
        self.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        assert self.run_ is not None
        self.run_.cancel()
        say("stopping: what was committed or checkpointed is kept")

    def _leave(self) -> NoReturn:
        _leave(self._advice())

    def _advice(self) -> str:
        return f"interrupted; to go on: {self.again}"


class Halt:
    """What the signals do to a command that is no flow: the first ends it by KeyboardInterrupt, so that its temporary
    files and engines go; with the next it ends as if it had been killed."""

    def __init__(self, again: str) -> None:
        """`again`: the command that does it anew, or goes on."""
        self.again = again
        self.stopped = self.kept = False
        """`kept`: is there something that need not be done again?"""
        self.cancel: Callable[[], object] | None = None
        """Ends what an event loop does, in its own time."""

    def watch(self) -> None:
        """Take the signals, also in the background of a shell."""
        for number in SIGNALS:
            signal.signal(number, self._arrived)

    def run(self, runner: asyncio.Runner, work: Coroutine[Any, Any, T]) -> T:
        """The result of turns of an event loop; KeyboardInterrupt where they were interrupted."""

        async def main() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            if self.stopped:  # before the first turn
                work.close()
                raise asyncio.CancelledError
            self.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await work
            finally:
                self.cancel = None

        try:
            result = runner.run(main())
        except BaseException:
            if self.stopped:
                raise KeyboardInterrupt from None
            raise
        if self.stopped:
            raise KeyboardInterrupt
        return result

    def end(self) -> None:
        """Ignore signals from now on, and print the last line. The command has nothing left to interrupt."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        say(self.advice())

    def advice(self) -> str:
        """The last line of an interrupted command: the command that goes on."""
        return f"interrupted; {'to go on' if self.kept else 'to do it anew'}: {self.again}"

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self.stopped:
            _leave(self.advice())
        self.stopped = True
        if self.cancel is None:
            raise KeyboardInterrupt
        self.cancel()


def _leave(advice: str) -> NoReturn:
    """End this moment, between any two instructions."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{advice}\n".encode())
    os._exit(130)


_current: Interruption | None = None


def watch_again() -> None:
    """Handle SIGTERM again: when a flow begins, Prefect replaces the handler by one that raises an exception.

    A flow run that a worker started has no command that goes on. It is cancelled like any task, and Prefect finds out
    by itself whether somebody cancelled it or it crashed.
    """
    if _current is not None:
        _current.watch()
        return
    from prefect.runtime import deployment

    if deployment.id:  # a worker started this process for the flow run
        apart()
    if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN, None):
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(ValueError, RuntimeError):  # signals are the main thread's
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def stopped_by() -> int | None:
    """The signal that stopped the command which runs, if any did."""
    return _current.by if _current is not None else None
