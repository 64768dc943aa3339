"""This process's part in a run: its signs of life, and the shards that it claims."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Iterator

from tasks.errors import StoreError, UserError
from tasks.output import liveness
from tasks.output.claims import (
    OPEN,
    Owner,
    alive,
    claim_key,
    claim_numbers,
    claimant_of,
    newest_claim,
    read_claim,
    session_key,
)
from tasks.output.liveness import RENEW, LivenessTracker
from tasks.storage.store import Store
from tasks.storage.store_clock import Clock
from tasks.telemetry import timeline
from tasks.telemetry.metering import Meters
from tasks.telemetry.progress import Tally


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
        since, newest = self.living.beats, newest_claim(self.store, shard)
        maker = claimant_of(self.store, shard, newest) if newest else None
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
        newest = newest_claim(self.store, shard)
        if newest <= number:
            return newest == number
        taker = read_claim(self.store, shard, newest) if take_back else {}
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
            self.store.delete([claim_key(shard, n) for n in claim_numbers(self.store, shard) if n <= number])

    def _create(self, shard: int, number: int, over: str | None = None) -> bool:
        """Claim a shard under a number, in the place of the dead session `over`."""
        content = {"session": self.name} | ({"over": over} if over else {})
        if not self.store.create(claim_key(shard, number), json.dumps(content).encode()):
            return False
        self.claims[shard] = number
        return True

    def _made(self, shard: int, number: int) -> bool:
        """Is a claim ours? Numbers begin anew after a commit."""
        return read_claim(self.store, shard, number).get("session") == self.name

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
            {role: usage.generated for role, usage in list(self.tally.usage.items())},
            ended,
            self.meters.accounts(),
            self.flow_run,
            self.sign,
            round(self.clock.ahead, 3),
        )
        return json.dumps(owner._asdict()).encode()


@contextlib.asynccontextmanager
async def open_session(
    store: Store, meters: Meters | None = None, flow_run: str = "", *, completes: bool = True
) -> AsyncIterator[Session]:
    """A session that shows signs of life while the block runs. `completes`: the run is complete if the block ends
    without an error."""
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
        await asyncio.to_thread(session.close, run_is_complete=completes)
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
