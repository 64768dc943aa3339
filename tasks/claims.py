"""Which process makes which shard, so that several can share an output and no shard is made twice.

A process shows that it lives by renewing checkpoints/sessions/NAME.json. It claims a shard by creating
checkpoints/claims/SSSSS/NNNNNN.json: only one process can create a given number, and the highest one counts. A shard
whose claimant no longer lives (tasks/liveness.py) is claimed under the next number. Should the old claimant live after
all, it finds that number before it commits, and takes the shard back under the one after: the other leaves it alone
from then on. Whoever is right about whom, a commit can only be made by the one that holds the highest number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

from tasks import liveness, timeline
from tasks.errors import StoreError, UserError
from tasks.liveness import RENEW, LivenessTracker
from tasks.metering import Accounts, Meters
from tasks.store import Store
from tasks.store_clock import Clock
from tasks.tally import Tally

CLAIMS = "checkpoints/claims"
CLAIM = re.compile(CLAIMS + r"/(\d{5,})/(\d{6,})\.json")
SESSIONS = "checkpoints/sessions"
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file that is not as it was written may raise."""
OPEN: set[str] = set()
"""Sessions of this process."""


class Owner(NamedTuple):
    """A process that works, or worked, on an output. Times are seconds since the epoch, by the store's clock if it has
    one, so that those of several processes can be compared. They are for people only: `sign` decides which processes
    live."""

    session: str
    host: str
    pid: int
    started: float
    """When the process was started, as `liveness.started` says it."""
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
    """Id of its flow run, if it is one of several that share the shards."""
    sign: int = 0
    """Another one with every sign of life."""
    ahead: float = 0.0
    """Seconds by which its machine's clock is ahead of the store's."""

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


class Session:
    """This process's part in a run. Its claims are given back when it is closed."""

    def __init__(self, store: Store, meters: Meters | None = None, flow_run: str = "") -> None:
        self.store = store
        self.meters = meters or Meters()
        self.flow_run = flow_run
        self.name = secrets.token_hex(6)
        self.living = LivenessTracker()
        """What is known of others on this output."""
        self.sign = 0
        self.clock = Clock()
        self.began = self.clock.now()
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
                self.store.write(session_key(self.name), self._content(ended=False))

    def beat(self) -> None:
        """Show a sign of life, and count a beat: processes that show none for many beats are dead."""
        self.renew()
        self.living.beat()

    def open(self) -> None:
        """Show the first sign of life, and find out by it how far this machine's clock is from the store's."""
        far = self.clock.compare(self.store, session_key(self.name), self.renew)
        self.began = self.clock.now()
        if far:
            self.renew()  # else it would be known only with the next

    def keep_lanes(self) -> None:
        """Write the bars of this process for the timeline. It does not wait for a store that is away, and a fault here
        does not delay a sign of life."""
        with self.lock, contextlib.suppress(Exception), self.store.retry.limited(RENEW):
            if not self.closed.is_set():
                timeline.keep(self.store, self.name, self.began, self.meters)

    def claim(self, shard: int) -> bool:
        """Take a shard, unless a living process has it."""
        since, newest = self.living.beats, _newest(self.store, shard)
        maker = _claimant(self.store, shard, newest) if newest else None
        if maker and maker.session == self.name:  # made by a request that a store was slow to answer
            self.claims[shard] = newest
            return True
        if maker and alive(maker, self.living, since):
            return False
        return self._create(shard, newest + 1, maker.session if maker else None)

    def holds(self, shard: int, take_back: bool = True) -> bool:
        """True if the shard is still ours. With `take_back` a shard that another process took because it took us for
        dead is taken back, unless that process has lost it meanwhile."""
        number = self.claims.get(shard, 0)
        if not number or not self._made(shard, number):
            return False
        newest = _newest(self.store, shard)
        if newest <= number:
            return newest == number
        taker = _claim(self.store, shard, newest) if take_back else {}
        if taker.get("over") != self.name or not self._create(shard, newest + 1):
            return False
        # one solution is not of two hands: what it kept begins where we had been silent, and we went on from there
        name = re.compile(rf"checkpoints/{shard:05d}/{re.escape(str(taker.get('session')))}-[^/]*")
        self.store.delete([key for key in self.store.keys(f"checkpoints/{shard:05d}") if name.fullmatch(key)])
        return True

    def forget(self, shard: int) -> None:
        """Forget a shard that was committed, by us or by another: there is nothing to give back."""
        self.claims.pop(shard, None)

    def give_back(self, shard: int) -> None:
        """Let another process have a shard that this one has not committed."""
        number = self.claims.pop(shard, 0)
        if number and self._made(shard, number):  # those of the dead that it was made over would count again
            self.store.delete([_claim_key(shard, n) for n in _numbers(self.store, shard) if n <= number])

    def _create(self, shard: int, number: int, over: str | None = None) -> bool:
        """Claim a shard under a number, in the place of the dead session `over`."""
        content = {"session": self.name} | ({"over": over} if over else {})
        if not self.store.create(_claim_key(shard, number), json.dumps(content).encode()):
            return False
        self.claims[shard] = number
        return True

    def _made(self, shard: int, number: int) -> bool:
        """Is a claim ours? Numbers begin anew after a commit."""
        return _claim(self.store, shard, number).get("session") == self.name

    def close(self, run_is_complete: bool) -> None:
        """Give every claim back, and record that this process ended, unless the run is complete."""
        self.closed.set()
        with self.lock:
            for shard in list(self.claims):
                self.give_back(shard)
            if run_is_complete or self.store.read_or_none(session_key(self.name)) is None:  # dropped with all others
                self.store.delete([session_key(self.name)])
            else:
                self.store.write(session_key(self.name), self._content(ended=True))

    def _content(self, ended: bool) -> bytes:
        self.sign += 1
        owner = Owner(
            self.name,
            liveness.host(),
            os.getpid(),
            liveness.started(os.getpid()) or 0.0,
            self.began,
            self.clock.now(),
            dict(self.generated),
            ended,
            self.meters.accounts(),
            self.flow_run,
            self.sign,
            round(self.clock.ahead, 3),
        )
        return json.dumps(owner._asdict()).encode()


@contextlib.asynccontextmanager
async def opened(
    store: Store, meters: Meters | None = None, flow_run: str = "", *, whole: bool = True
) -> AsyncIterator[Session]:
    """A session that shows signs of life while the block runs. `whole`: the run is complete if the block ends without
    an error."""
    session = Session(store, meters, flow_run)
    OPEN.add(session.name)
    try:
        await asyncio.to_thread(session.open)
        _keep_shown(session)
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


@contextlib.contextmanager
def shown(session: Session) -> Iterator[None]:
    """Let a session show signs of life while the block runs, outside of an event loop."""
    OPEN.add(session.name)
    try:
        session.open()
        _keep_shown(session)
        yield
    finally:
        with contextlib.suppress(StoreError, UserError):  # as above
            session.close(run_is_complete=True)
        OPEN.discard(session.name)


def _keep_shown(session: Session) -> None:
    threading.Thread(target=_keep_renewing, args=[session], name="stepwave-session", daemon=True).start()


def _keep_renewing(session: Session) -> None:
    while not session.closed.wait(RENEW):
        # a store that is away: what writes the results says so, and the next sign of life may get through
        with contextlib.suppress(StoreError, UserError):
            session.beat()
        session.keep_lanes()


def claimed(store: Store) -> dict[int, int]:
    """Shard to the number of its newest claim, of a living process or not."""
    newest: dict[int, int] = {}
    for key in store.keys(CLAIMS):
        if found := CLAIM.fullmatch(key):
            shard, number = int(found[1]), int(found[2])
            newest[shard] = max(number, newest.get(shard, 0))
    return newest


def claimants(store: Store, among: dict[int, int] | None = None) -> dict[int, Owner]:
    """Shard to the process that has claimed it, living or not. `among`: only these shards, with the numbers of their
    newest claims."""
    newest = claimed(store) if among is None else among
    owners = {shard: _claimant(store, shard, number) for shard, number in sorted(newest.items())}
    return {shard: owner for shard, owner in owners.items() if owner}


def holders(store: Store, living: LivenessTracker, among: dict[int, int] | None = None) -> dict[int, Owner]:
    """Those of `claimants` that live."""
    since = living.beats
    return {shard: owner for shard, owner in claimants(store, among).items() if alive(owner, living, since)}


def sessions(store: Store) -> list[Owner]:
    """Every process that worked on an unfinished run, in the order in which they began."""
    keys = [key for key in store.keys(SESSIONS) if key.endswith(".json")]
    found = [owner for content in store.read_many(keys).values() if (owner := _owner(content))]
    return sorted(found, key=lambda owner: owner.began)


def session(store: Store, key: str) -> Owner | None:
    """The process of a file of SESSIONS; None if the file is gone or damaged."""
    return _owner(store.read_or_none(key))


def bury(store: Store, key: str) -> None:
    """Count a silent process as ended. If it lives, its next sign of life undoes that."""
    if (owner := session(store, key)) and not owner.ended:
        store.write(key, json.dumps(owner._replace(ended=True)._asdict()).encode())


def alive(owner: Owner, living: LivenessTracker, since: int) -> bool:
    """True if a process may still be at work: it has not recorded its end, is not gone from this machine, and was not
    silent for too long. `since`: `living.beats` before it was read."""
    gone = owner.ended or seen_here(owner) is False
    return not gone and not living.silent(owner.session, (owner.sign, owner.renewed), since)


def seen_here(owner: Owner) -> bool | None:
    """True if the session's process exists; None if that cannot be seen from this machine."""
    if owner.pid == os.getpid() and owner.host == liveness.host():
        return owner.session in OPEN
    return liveness.there(owner.host, owner.pid, owner.started)


def _numbers(store: Store, shard: int) -> list[int]:
    """Numbers of a shard's claims, in order."""
    found = [CLAIM.fullmatch(key) for key in store.keys(claims_of(shard))]
    return sorted(int(match[2]) for match in found if match)


def _newest(store: Store, shard: int) -> int:
    return max(_numbers(store, shard), default=0)


def _claim(store: Store, shard: int, number: int) -> dict[str, Any]:
    """What a claim says; {} where that cannot be read."""
    with contextlib.suppress(*DAMAGED):
        return dict(json.loads(store.read_or_none(_claim_key(shard, number)) or b"").items())
    return {}


def _claimant(store: Store, shard: int, number: int) -> Owner | None:
    """The process that made a claim; None if the claim cannot be read, or the session is gone."""
    name = _claim(store, shard, number).get("session")
    if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{1,64}", name):
        return _owner(store.read_or_none(session_key(name)))
    return None


def _owner(content: bytes | None) -> Owner | None:
    with contextlib.suppress(*DAMAGED):
        found: dict[str, Any] = json.loads(content or b"")
        owner = Owner(
            str(found["session"]),
            str(found["host"]),
            int(found["pid"]),
            float(found["started"]) if "sign" in found else 0.0,  # an older release kept a time of day
            float(found["began"]),
            float(found["renewed"]),
            {str(role): int(tokens) for role, tokens in found["generated"].items()},
            bool(found["ended"]),
            _accounts(found.get("accounts", {})),
            str(found.get("flow_run", "")),
            int(found.get("sign", 0)),
            float(found.get("ahead", 0.0)),
        )
        if owner.pid > 0 and all(map(math.isfinite, (owner.started, owner.began, owner.renewed, owner.ahead))):
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


def session_key(name: str) -> str:
    """The file that a session renews."""
    return f"{SESSIONS}/{name}.json"


def claims_of(shard: int) -> str:
    """The folder of a shard's claims."""
    return f"{CLAIMS}/{shard:05d}"


def _claim_key(shard: int, number: int) -> str:
    return f"{claims_of(shard)}/{number:06d}.json"
