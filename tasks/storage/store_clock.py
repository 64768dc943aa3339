"""How far this machine's clock is from that of a store, and what is said of it. Nothing that must hold goes by them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from tasks.errors import StoreError, UserError
from tasks.storage.store import Store

FAR = 30.0
"""Seconds by which the clocks may differ before it is told."""
TOLD: set[str] = set()
"""What this process has said of its clock."""


class Clock:
    """Time of day by this machine's monotonic time: nobody sets that while a run lasts."""

    def __init__(self) -> None:
        self.epoch = time.time() - time.monotonic()
        self.ahead = 0.0
        """Seconds by which this machine's clock is ahead of the store's."""

    def now(self) -> float:
        """Seconds since the epoch, by the store's clock as far as it is known."""
        return self.epoch - self.ahead + time.monotonic()

    def compare(self, store: Store, key: str, write: Callable[[], None]) -> bool:
        """Learn of the store's clock by a file that is written now; say so, and return True, where it is far off."""
        self.ahead = 0.0
        before = self.now()
        write()
        after = self.now()
        with contextlib.suppress(StoreError, UserError):
            written = store.times(key).written.get(key)
            if written is not None:
                self.ahead = before - written if written < before else min(0.0, after - written)
        if abs(self.ahead) < FAR:
            return False
        far = f"{lasting(abs(self.ahead))} {'ahead of' if self.ahead > 0 else 'behind'}"
        if far not in TOLD:
            TOLD.add(far)
            store.retry.say(
                f"the clock of this machine is {far} that of {store.path()}; runs do not depend on it, but "
                f"{{date}}, {{time}} "
                "and the times in logs and reports do: set it right"
            )
        return True


def lasting(seconds: float) -> str:
    """About how long, in a person's words."""
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
