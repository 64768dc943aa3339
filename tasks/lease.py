"""One process writes to a run's output at a time.

A lease is a file checkpoints/lease-NNNNNN.json that its owner renews. Only one process can create a given number, so
of several that find a dead owner's lease one takes it over, and the old owner, should it wake, sees the higher number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import psutil

from tasks.errors import UserError
from tasks.store import Store

RENEW = 10.0
"""Seconds between renewals."""
DEAD = 60.0
"""Seconds without renewal after which an owner on another machine counts as dead."""


FIRST_NAMESPACE = "pid:[4026531836]"
"""Linux's own pid namespace, outside of any container."""


class Owner(NamedTuple):
    """Who holds a lease. `started`, `renewed`: seconds since the epoch."""

    host: str
    pid: int
    started: float
    renewed: float


class LeaseLost(UserError):
    pass


@contextlib.asynccontextmanager
async def hold(store: Store) -> AsyncIterator[str]:
    """Hold the output's lease while the block runs; yields a name that no other holder had.

    Raises UserError where another process lives that holds it.
    """
    number = await asyncio.to_thread(_acquire, store)
    lease = _Lease(store, number)
    owner = asyncio.current_task()
    assert owner is not None

    async def renew() -> None:
        alive = time.monotonic()
        while time.monotonic() - alive < DEAD:  # after that others may think us dead
            await asyncio.sleep(RENEW)
            with contextlib.suppress(UserError, OSError):  # a store that is away for a moment: the next time may do
                if not await asyncio.to_thread(lease.renew):
                    break
                alive = time.monotonic()
        lease.lost = True
        owner.cancel()

    renewal = asyncio.create_task(renew())
    try:
        yield f"{number:06d}-{secrets.token_hex(3)}"
    except asyncio.CancelledError:
        if lease.lost:
            raise LeaseLost(
                f"{store.path()}: another process took this run over, or the store was away for {DEAD:.0f} s; "
                "what was committed or checkpointed is kept"
            ) from None
        raise
    finally:
        renewal.cancel()
        lease.release()


class _Lease:
    """One number of an output's lease. Renewals in a thread and the release do not cross."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number = store, number
        self.lost = self.released = False
        self.lock = threading.Lock()

    def renew(self) -> bool:
        """Show a sign of life; False where another process holds a higher number."""
        with self.lock:
            if self.released:
                return True
            if _newest(self.store) > self.number:
                return False
            self.store.write(_key(self.number), _content())
            return True

    def release(self) -> None:
        with self.lock:
            self.released = True
            if not self.lost:
                self.store.delete([_key(n) for n in _numbers(self.store) if n <= self.number])


def holder(store: Store) -> Owner | None:
    """Who holds the lease; None where nobody alive does."""
    number = _newest(store)
    found = _read(store, number)
    return found if found and _alive(found) else None


def _acquire(store: Store) -> int:
    number = _newest(store)
    found = _read(store, number)
    if found and _alive(found):
        raise UserError(
            f"{store.path()}: another process is writing this run (pid {found.pid} on {found.host}); "
            f"wait for it or stop it: {DEAD:.0f} s after its last sign of life its place is free"
        )
    if not store.create(_key(number + 1), _content()):
        raise UserError(f"{store.path()}: another process has just begun to write this run")
    return number + 1


def _numbers(store: Store) -> list[int]:
    names = [key.rpartition("/")[2] for key in store.keys("checkpoints") if "/lease-" in key]
    return [int(name[6:12]) for name in names if name[6:12].isdigit()]


def _newest(store: Store) -> int:
    return max(_numbers(store), default=0)


def _key(number: int) -> str:
    return f"checkpoints/lease-{number:06d}.json"


def _host() -> str:
    """This machine; in a container, the container whose process ids ours are."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
        return name if namespace == FIRST_NAMESPACE else f"{name} ({namespace})"
    return name


def _content() -> bytes:
    me = psutil.Process()
    owner = Owner(_host(), me.pid, me.create_time(), time.time())
    return json.dumps(owner._asdict()).encode()


def _read(store: Store, number: int) -> Owner | None:
    content = store.read_or_none(_key(number)) if number else None
    try:
        found = json.loads(content or b"")
        owner = Owner(str(found["host"]), int(found["pid"]), float(found["started"]), float(found["renewed"]))
        return owner if owner.pid > 0 else None
    except (ValueError, LookupError, TypeError, OverflowError):
        return None


def _alive(owner: Owner) -> bool:
    if owner.host == _host():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(owner.pid)
            same = abs(process.create_time() - owner.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
        return False
    return time.time() - owner.renewed < DEAD
