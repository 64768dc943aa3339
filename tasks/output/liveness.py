"""Which of the processes that share a place are alive. No two clocks are compared, neither of machines nor of
processes.

Every process rewrites a file of its own again and again, its sign of life. To judge another process, a process watches
whether that file changes while its own signs of life succeed. If it stays the same over BEATS signs of our own, the
other counts as dead. So the judge's time passes only while it could have seen a change: not while it was stopped or its
machine slept, nor while the place was away or slow for everybody. A process that looks for the first time waits the
full time. Of a process on the judge's own machine it is seen at once that it is gone.

A judgement may be wrong (of one that was stopped, or whose time runs slower), so nothing that must hold rests on it.
"""

from __future__ import annotations

import contextlib
import os
import socket

import psutil

RENEW = 10.0
"""Seconds between signs of life, by each process's own monotonic time."""
BEATS = 6
"""Own signs of life that succeed while another's does not change, until that one counts as dead."""
DEAD = BEATS * RENEW
"""Seconds that this takes where the place answers at once."""
FIRST_NAMESPACE = "pid:[4026531836]"
"""Linux's own pid namespace, outside of any container."""


class LivenessTracker:
    """What one process has heard of others. Threads share it."""

    def __init__(self) -> None:
        self.beats = 0
        """Signs of life of our own that got through since the first."""
        self.heard: dict[str, tuple[object, int]] = {}
        """Name of another process to its last sign, and our count of beats when that sign was new."""

    def beat(self) -> None:
        """One more sign of our own got through."""
        self.beats += 1

    def silent(self, who: str, sign: object, since: int) -> bool:
        """True if another process was silent for so long that it counts as dead. `sign`: a value that changes with each
        sign of life. `since`: our `beats` before it was read, because reading may take long."""
        known = self.heard.get(who)
        if known is None or known[0] != sign:
            self.heard[who] = (sign, self.beats)
            return False
        return since - known[1] >= BEATS

    def forget(self, who: str) -> None:
        """Whatever comes of that name is heard for the first time."""
        self.heard.pop(who, None)


def host() -> str:
    """A name for this machine from its start to its next one, and in a container for the container, which has process
    ids of its own. Host names do not do, because clones share them."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as f:
            name += f"/{f.read(8)}"
        namespace = os.readlink("/proc/self/ns/pid")
        return name if namespace == FIRST_NAMESPACE else f"{name} ({namespace})"
    return name


def started(pid: int) -> float | None:
    """When a process of this machine was started, in what no clock that is set can move: the kernel's ticks since its
    own start. 0.0: there is no such process, or only one whose end its parent has not asked for yet. None: that
    cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()  # the name before it may hold anything
        return 0.0 if fields[0] in (b"Z", b"X") else float(fields[19])
    except ProcessLookupError:
        return 0.0
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):  # others' processes may be hidden there
            return 0.0 if _is_gone(pid) else None
    except (OSError, ValueError, IndexError):
        return None
    with contextlib.suppress(psutil.AccessDenied):  # no Linux: what its kernel wrote down
        try:
            process = psutil.Process(pid)
            return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
        except (psutil.NoSuchProcess, OverflowError):
            return 0.0
    return None


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def there(machine: str, pid: int, since: float) -> bool | None:
    """Is a process there that was `started` at `since` on a machine? None: that cannot be seen from here, or the time
    was not kept (0.0)."""
    if machine != host() or not since:
        return None
    found = started(pid)
    return None if found is None else found == since
