"""Which process makes which shard, so that several can share an output and none does another's work.

A process shows that it lives by renewing checkpoints/sessions/NAME.json. It claims a shard by creating
checkpoints/claims/SSSSS/NNNNNN.json: only one process can create a given number, and the highest one counts. A shard
whose claimant no longer lives is claimed under the next number; should the old claimant wake, it sees that number
before it commits, and leaves the shard alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import psutil

from tasks import timeline
from tasks.errors import StoreError, UserError
from tasks.metering import Accounts, Meters
from tasks.store import Store
from tasks.tally import Tally

RENEW = 10.0
"""Seconds between signs of life."""
DEAD = 60.0
"""Seconds without a sign of life after which a process counts as dead. Clocks of machines that share an output should
agree to within some seconds; where they do not, a shard may be made twice, but is committed once."""

FIRST_NAMESPACE = "pid:[4026531836]"
"""Linux's own pid namespace, outside of any container."""
CLAIMS = "checkpoints/claims"
CLAIM = re.compile(CLAIMS + r"/(\d{5,})/(\d{6,})\.json")
SESSIONS = "checkpoints/sessions"
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file that is not as it was written may raise."""
OPEN: set[str] = set()
"""Sessions of this process."""


class Owner(NamedTuple):
    """A process that works, or worked, on an output. Times are seconds since the epoch."""

    session: str
    host: str
    pid: int
    started: float
    """When the process was started."""
    began: float
    """When the session was opened."""
    renewed: float
    """Its last sign of life."""
    generated: dict[str, int]
    """Role to tokens that it wrote."""
    ended: bool
    accounts: Accounts = {}  # noqa: RUF012 - never changed
    """Where its time went."""
    flow_run: str = ""
    """Id of the flow run that it is, where it is one of several that share the shards."""

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


class Session:
    """This process's part in a run. Its claims are given back when it is closed."""

    def __init__(self, store: Store, meters: Meters | None = None, flow_run: str = "") -> None:
        self.store = store
        self.meters = meters or Meters()
        self.flow_run = flow_run
        self.name = secrets.token_hex(6)
        self.began = time.time()
        self.generated: dict[str, int] = {}
        self.tally = Tally()
        self.claims: dict[int, int] = {}
        """Shard to the number of our claim."""
        self.committed = 0
        """Shards that it committed."""
        self.lock = threading.Lock()
        self.closed = threading.Event()

    def renew(self) -> None:
        """Show a sign of life."""
        with self.lock:
            if not self.closed.is_set():
                self.store.write(_session_key(self.name), self._content(ended=False))

    def keep_lanes(self) -> None:
        """Keep what the timeline shows of this process so far. A store that is away is not waited for, and no
        fault here costs a sign of life."""
        with self.lock, contextlib.suppress(Exception), self.store.retry.limited(RENEW):
            if not self.closed.is_set():
                timeline.keep(self.store, self.name, self.began, self.meters)

    def claim(self, shard: int) -> bool:
        """Take a shard, unless a living process has it."""
        newest = _newest(self.store, shard)
        if newest and (owner := _claimant(self.store, shard, newest)) and alive(owner):
            if owner.session == self.name:  # made by a request that a store was slow to answer
                self.claims[shard] = newest
            return owner.session == self.name
        if not self.store.create(_claim_key(shard, newest + 1), self._claim()):
            return False
        self.claims[shard] = newest + 1
        return True

    def holds(self, shard: int) -> bool:
        """Is the shard still ours?"""
        number = self.claims.get(shard, 0)
        return bool(number) and _newest(self.store, shard) == number and self._made(shard, number)

    def forget(self, shard: int) -> None:
        """The shard was committed, by us or by another: there is nothing to give back."""
        self.claims.pop(shard, None)

    def give_back(self, shard: int) -> None:
        number = self.claims.pop(shard, 0)
        if number and self._made(shard, number):  # those of the dead that it was made over would count again
            self.store.delete([_claim_key(shard, n) for n in _numbers(self.store, shard) if n <= number])

    def _made(self, shard: int, number: int) -> bool:
        """Is a claim ours? Numbers begin anew after a commit."""
        return self.store.read_or_none(_claim_key(shard, number)) == self._claim()

    def close(self, run_is_complete: bool) -> None:
        """Give every claim back, and say that this process ended; a complete run needs no word of it."""
        self.closed.set()
        with self.lock:
            for shard in list(self.claims):
                self.give_back(shard)
            if run_is_complete or self.store.read_or_none(_session_key(self.name)) is None:  # dropped with all others
                self.store.delete([_session_key(self.name)])
            else:
                self.store.write(_session_key(self.name), self._content(ended=True))

    def _claim(self) -> bytes:
        return json.dumps({"session": self.name}).encode()

    def _content(self, ended: bool) -> bytes:
        me = psutil.Process()
        owner = Owner(
            self.name,
            _host(),
            me.pid,
            me.create_time(),
            self.began,
            time.time(),
            dict(self.generated),
            ended,
            self.meters.accounts(),
            self.flow_run,
        )
        return json.dumps(owner._asdict()).encode()


@contextlib.asynccontextmanager
async def opened(
    store: Store, meters: Meters | None = None, flow_run: str = "", *, whole: bool = True
) -> AsyncIterator[Session]:
    """A session that shows signs of life while the block runs. `whole`: the block ends without an error when the run
    is done."""
    session = Session(store, meters, flow_run)
    OPEN.add(session.name)
    try:
        await asyncio.to_thread(session.renew)
        threading.Thread(target=_keep_renewing, args=[session], name="stepwave-session", daemon=True).start()
        yield session
    except BaseException:
        # claims that cannot be given back are free once this process counts as dead
        with contextlib.suppress(StoreError, UserError):
            await asyncio.to_thread(session.close, run_is_complete=False)
        raise
    else:
        await asyncio.to_thread(session.close, run_is_complete=whole)
    finally:
        OPEN.discard(session.name)


def _keep_renewing(session: Session) -> None:
    while not session.closed.wait(RENEW):
        # a store that is away: what writes the results says so, and the next sign of life may get through
        with contextlib.suppress(StoreError, UserError):
            session.renew()
        session.keep_lanes()


def claimed(store: Store) -> dict[int, int]:
    """Shard to the number of its newest claim, whether its claimant lives or not."""
    newest: dict[int, int] = {}
    for key in store.keys(CLAIMS):
        if found := CLAIM.fullmatch(key):
            shard, number = int(found[1]), int(found[2])
            newest[shard] = max(number, newest.get(shard, 0))
    return newest


def holders(store: Store, among: dict[int, int] | None = None) -> dict[int, Owner]:
    """Shard to the living process that has claimed it; of all, or `among` those with their newest claims."""
    newest = claimed(store) if among is None else among
    owners = {shard: _claimant(store, shard, number) for shard, number in newest.items()}
    return {shard: owner for shard, owner in sorted(owners.items()) if owner and alive(owner)}


def sessions(store: Store) -> list[Owner]:
    """Every process that worked on an unfinished run, in the order in which they began."""
    keys = [key for key in store.keys(SESSIONS) if key.endswith(".json")]
    found = [owner for content in store.read_many(keys).values() if (owner := _owner(content))]
    return sorted(found, key=lambda owner: owner.began)


def session(store: Store, key: str) -> Owner | None:
    """The process that renews a file of SESSIONS; None where that is gone or damaged."""
    return _owner(store.read_or_none(key))


def bury(store: Store, key: str) -> None:
    """Let a process count as ended that did not say so itself. Should it live, its next sign of life says so."""
    if (owner := session(store, key)) and not owner.ended:
        store.write(key, json.dumps(owner._replace(ended=True)._asdict()).encode())


def alive(owner: Owner) -> bool:
    """Did the process show a sign of life of late, and, where it is one of this machine, is it there?"""
    if owner.ended or not abs(time.time() - owner.renewed) < DEAD:  # a damaged time may be any, or none
        return False
    if owner.host != _host():
        return True
    if owner.pid == os.getpid():
        return owner.session in OPEN
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(owner.pid)
        return abs(process.create_time() - owner.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    return False


def _numbers(store: Store, shard: int) -> list[int]:
    """Numbers of a shard's claims, in order."""
    found = [CLAIM.fullmatch(key) for key in store.keys(claims_of(shard))]
    return sorted(int(match[2]) for match in found if match)


def _newest(store: Store, shard: int) -> int:
    return max(_numbers(store, shard), default=0)


def _claimant(store: Store, shard: int, number: int) -> Owner | None:
    """Who made a claim; None where that cannot be read, or the session is no longer there."""
    with contextlib.suppress(*DAMAGED):
        name = json.loads(store.read_or_none(_claim_key(shard, number)) or b"")["session"]
        if re.fullmatch(r"[0-9a-f]{1,64}", name):
            return _owner(store.read_or_none(_session_key(name)))
    return None


def _owner(content: bytes | None) -> Owner | None:
    with contextlib.suppress(*DAMAGED):
        found: dict[str, Any] = json.loads(content or b"")
        owner = Owner(
            str(found["session"]),
            str(found["host"]),
            int(found["pid"]),
            float(found["started"]),
            float(found["began"]),
            float(found["renewed"]),
            {str(role): int(tokens) for role, tokens in found["generated"].items()},
            bool(found["ended"]),
            _accounts(found.get("accounts", {})),
            str(found.get("flow_run", "")),
        )
        if owner.pid > 0 and all(map(math.isfinite, (owner.started, owner.began, owner.renewed))):
            return owner
    return None


def _accounts(found: dict[str, Any]) -> Accounts:
    return {
        "roles": {str(role): _finite(figures) for role, figures in found.get("roles", {}).items()},
        "stages": _finite(found.get("stages", {})),
    }


def _finite(figures: dict[str, Any]) -> dict[str, float]:
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in figures.values()):
        raise ValueError("figures that are no numbers")
    return {str(name): value for name, value in figures.items()}


def _session_key(name: str) -> str:
    return f"{SESSIONS}/{name}.json"


def claims_of(shard: int) -> str:
    """The folder of a shard's claims."""
    return f"{CLAIMS}/{shard:05d}"


def _claim_key(shard: int, number: int) -> str:
    return f"{claims_of(shard)}/{number:06d}.json"


def _host() -> str:
    """This machine since it was started, and in a container the one whose process ids ours are: clones share names."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as f:
            name += f"/{f.read(8)}"
        namespace = os.readlink("/proc/self/ns/pid")
        return name if namespace == FIRST_NAMESPACE else f"{name} ({namespace})"
    return name
