"""One process writes to a run's output at a time.

A lease is a file checkpoints/lease-NNNNNN.json that its owner renews. Only one process can create a given number, so
of several that find a dead owner's lease one takes it over, and the old owner, should it wake, sees the higher number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
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
    """Hold the output's lease while the block runs; yields its number. UserError where another process lives."""
    number = await asyncio.to_thread(_acquire, store)
    key = _key(number)
    owner = asyncio.current_task()
    assert owner is not None
    lost = False

    async def renew() -> None:
        nonlocal lost
        alive = time.monotonic()
        while True:
            await asyncio.sleep(RENEW)
            if time.monotonic() - alive > DEAD:  # others may think us dead by now
                lost = True
                owner.cancel()
                return
            with contextlib.suppress(UserError, OSError):  # a store that is away for a moment: the next time may do
                if await asyncio.to_thread(_newest, store) > number:
                    lost = True
                    owner.cancel()
                    return
                await asyncio.to_thread(store.write, key, _content())
                alive = time.monotonic()

    renewal = asyncio.create_task(renew())
    try:
        yield f"{number:06d}"
    except asyncio.CancelledError:
        if lost:
            raise LeaseLost(
                f"{store.path()}: another process took this run over, or the store was away for {DEAD:.0f} s; "
                "what was committed or checkpointed is kept"
            ) from None
        raise
    finally:
        renewal.cancel()
        with contextlib.suppress(BaseException):
            await renewal
        if not lost:
            store.delete([_key(n) for n in range(max(1, number - 3), number + 1)])


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


def _newest(store: Store) -> int:
    names = [key.rpartition("/")[2] for key in store.keys("checkpoints") if "/lease-" in key]
    return max((int(name[6:12]) for name in names if name[6:12].isdigit()), default=0)


def _key(number: int) -> str:
    return f"checkpoints/lease-{number:06d}.json"


def _content() -> bytes:
    me = psutil.Process()
    owner = Owner(socket.gethostname(), me.pid, me.create_time(), time.time())
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
    if owner.host == socket.gethostname():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(owner.pid)
            same = abs(process.create_time() - owner.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
        return False
    return time.time() - owner.renewed < DEAD
