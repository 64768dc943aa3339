"""Progress on stderr: a live bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from flows.terminal.text import say
from tasks.errors import on_one_line
from tasks.telemetry.progress import Round

EVERY = 5.0
"""Seconds between lines."""
REDRAWN = 0.1
"""Seconds between pictures of the bar."""


class Progress:
    """Counts trajectories as they end. It is not shown if nobody watches (`shown=False`)."""

    def __init__(self, shown: bool = True) -> None:
        self.shown = shown
        self.bar: Any = None
        self.task: Any = None
        self.name = "solutions"
        self.total = self.done = self.failed = self.tokens = self.drafted = self.kept = 0
        self.makers: str | None = None
        """Who makes what is counted, where that is not this process."""
        self.started = time.monotonic()
        self.stopped = threading.Event()
        self.next = 0.0
        """When the bar may be drawn again."""

    def __enter__(self) -> Progress:
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar
            from rich.table import Column

            columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
            note = TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True))
            self.bar = Bar(*columns, note, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("getting ready", total=None, note="")
            self.bar.start()
        elif self.shown:
            threading.Thread(target=self._tick, name="stepwave-progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        if self.bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self.bar.stop()

    def say(self, text: str) -> None:
        """A stage of the run, in words; they may hold paths and names from files."""
        if not self.shown:
            return
        text = on_one_line(text)
        if self.bar is None:
            say(text)
            return
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            self.bar.console.print(text, highlight=False, markup=False)

    def begin(self, total: int, done: int, name: str) -> None:
        """Solutions in the run, those committed by an earlier process, and what the bar calls them."""
        self.total, self.done, self.name = total, done, name
        self.failed = self.tokens = self.drafted = self.kept = 0
        self.started, self.next = time.monotonic(), 0.0
        self._show()

    def round(self, done: Round) -> None:
        """Count what a trajectory's round came to."""
        self.tokens += done.tokens
        self.drafted += done.judged
        self.kept += done.kept
        self._show()

    def ended(self, solutions: int, failed: int) -> None:
        """Count solutions that ended, and how many of them failed."""
        self.done += solutions
        self.failed += failed
        self._show()

    def _show(self) -> None:
        if self.bar is not None and time.monotonic() >= self.next:
            self.next = time.monotonic() + REDRAWN
            with contextlib.suppress(OSError, ValueError):
                self.bar.update(
                    self.task, description=self.name, total=self.total, completed=self.done, note=self.note()
                )

    def made_by(self, makers: str) -> None:
        """Say who makes the shards, such as a number of flow runs, in the place of rates."""
        self.makers = makers
        self._show()

    def note(self) -> str:
        """The state in words: rate, acceptance and failures so far, or who is at work."""
        if self.makers is not None:
            return self.makers
        rate = self.tokens / max(time.monotonic() - self.started, 1e-9)
        kept = f", {self.kept / self.drafted:.0%} of draft steps kept" if self.drafted else ""
        return f"{rate:,.0f} tokens/s{kept}" + (f", {self.failed} failed" if self.failed else "")

    def _tick(self) -> None:
        """A line every few seconds, also while engines take longer than that."""
        while not self.stopped.wait(EVERY):
            if self.total:
                say(f"{self.done:,} of {self.total:,} {self.name}, {self.note()}")
            else:
                say(f"... {time.monotonic() - self.started:.0f} s")


_CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Flows that are called in this block report to `progress`."""
    token = _CURRENT.set(progress)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Progress:
    """The progress that this flow reports to. In a deployment nobody sees it."""
    return _CURRENT.get() or Progress(shown=False)
