"""Faults of a store: those that may pass are ridden out with backoff and told, the others end the run in a clear line.

This is the only place that tries anything again; the libraries below are told not to.
"""

from __future__ import annotations

import enum
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from tasks.errors import DiskFull, StoreError, UserError

PATIENCE = 300.0
"""Seconds, from its first fault, for which an operation is tried again."""
FULL_PATIENCE = 30.0
"""The same for a full disk, which seldom empties itself."""
CONTACT_PATIENCE = 15.0
"""The same for an endpoint that never answered: its address is more likely wrong than the store away."""
FIRST_WAIT = 0.2
"""Seconds at most before the second try; the most doubles with every try."""
LONGEST_WAIT = 10.0
"""Seconds at most between two tries."""
SAY_EVERY = 5.0
"""Seconds between two lines about a store that does not work."""

T = TypeVar("T")
Say = Callable[[str], None]


class Kind(enum.Enum):
    """What a fault calls for."""

    PASSING = "try again"
    FULL = "try again for a little while: the disk is full"
    SILENT = "try again for a little while: nothing has ever answered there"
    LASTING = "tell the user at once"


@dataclass(frozen=True)
class Fault:
    """Why one try failed. The reason holds no credentials."""

    kind: Kind
    reason: str


Judge = Callable[[Exception], Fault | None]
"""The fault of the store behind an exception; None if it is no fault, such as FileNotFoundError."""


def log(line: str) -> None:
    """Log a line as a warning."""
    logging.getLogger("stepwave").warning(line)


class Retry:
    """Rides out the faults of one store; threads share it.

    `patience` may be lowered while operations are under way: it counts from their next try on.
    """

    def __init__(self, patience: float = PATIENCE, say: Say | None = None) -> None:
        self.patience = patience
        self.say = say or log
        self._lock = threading.Lock()
        self._of_thread = threading.local()
        self._said = -SAY_EVERY
        self._away = False

    def __call__(self, path: str, act: Callable[[], T], judge: Judge, patience: float | None = None) -> T:
        """What `act` returns once it succeeds. It must be safe to repeat: a try that failed may have had its effect.

        Raises UserError for faults that do not pass, StoreError where the patience is at its end (that of the store, or
        `patience` if less), and whatever `judge` says is no fault. `path` is what messages call it.
        """
        trouble = _Trouble(self, path, judge, patience)
        try:
            result = Retrying(
                retry=retry_if_exception(trouble.may_pass),
                wait=trouble.wait,
                stop=trouble.outlasts,
                before_sleep=trouble.tell,
                reraise=True,
            )(act)
        except Exception as error:
            told = trouble.end(error)
            if told is error:
                trouble.tell_over()
                raise
            # without the error it comes from: that may show an address with credentials
            raise told from None
        trouble.tell_over()
        return result

    @property
    def limit(self) -> float:
        """Seconds for which this thread tries again at most; infinite where nothing limits it."""
        return getattr(self._of_thread, "limit", math.inf)

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Try this thread's operations in the block again for no longer than that."""
        self._of_thread.limit = seconds
        try:
            yield
        finally:
            self._of_thread.limit = math.inf

    def tell_failure(self, line: str) -> None:
        """Tell of a failed try, unless something was told just now."""
        with self._lock:
            now = time.monotonic()
            if now - self._said < SAY_EVERY:
                return
            self._said, self._away = now, True
        self.say(line)

    def tell_recovery(self, line: str) -> None:
        """Tell of the end of the faults, where any was told."""
        with self._lock:
            was_away, self._away = self._away, False
        if was_away:
            self.say(line)


class _Trouble:
    """One operation and the faults that it meets."""

    def __init__(self, retry: Retry, path: str, judge: Judge, patience: float | None) -> None:
        self.retry, self.path, self.judge, self.own_patience = retry, path, judge, patience
        self.backoff = wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)
        self.fault: Fault | None = None
        self.began: float | None = None

    def may_pass(self, error: BaseException) -> bool:
        self.fault = self.judge(error) if isinstance(error, Exception) else None
        if self.fault is None or self.fault.kind is Kind.LASTING:
            return False
        self.began = time.monotonic() if self.began is None else self.began
        return True

    @property
    def lasted(self) -> float:
        """Seconds since the first fault."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds for which it is tried again."""
        patience = self.retry.patience if self.own_patience is None else min(self.own_patience, self.retry.patience)
        if self.fault and self.fault.kind in (Kind.FULL, Kind.SILENT):
            patience = min(patience, FULL_PATIENCE if self.fault.kind is Kind.FULL else CONTACT_PATIENCE)
        return min(patience, self.retry.limit) - self.lasted

    def wait(self, state: RetryCallState) -> float:
        return max(0.0, min(self.backoff(state), self.left))

    def outlasts(self, state: RetryCallState) -> bool:
        return self.left <= 0

    def tell(self, state: RetryCallState) -> None:
        assert self.fault is not None
        self.retry.tell_failure(f"{self.path}: {self.fault.reason}; trying again for another {self.left:.0f} s")

    def tell_over(self) -> None:
        if self.began is not None:
            self.retry.tell_recovery(f"{self.path}: the store works again, after {self.lasted:.0f} s")

    def end(self, error: Exception) -> Exception:
        """What to raise for the error of the last try."""
        if self.fault is None:
            return error
        told = f"{self.path}: {self.fault.reason}"
        if self.fault.kind in (Kind.LASTING, Kind.SILENT):
            return UserError(told)
        kind = DiskFull if self.fault.kind is Kind.FULL else StoreError
        return kind(f"{told}; tried again for {self.lasted:.0f} s")
