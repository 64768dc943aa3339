"""Which process makes which shard, so that several can share an output and no shard is made twice.

A process shows that it lives by renewing checkpoints/sessions/NAME.json. It claims a shard by creating
checkpoints/claims/SSSSS/NNNNNN.json: only one process can create a given number, and the highest one counts. A shard
whose claimant no longer lives (tasks/output/liveness.py) is claimed under the next number. Should the old claimant live
after all, it finds that number before it commits, and takes the shard back under the one after: the other leaves it
alone from then on. Whoever is right about whom, a commit can only be made by the one that holds the highest number.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any, NamedTuple

from tasks.output import liveness, shapes
from tasks.output.liveness import LivenessTracker
from tasks.storage.store import Store
from tasks.telemetry.accounts import Accounts

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
    owners = {shard: claimant_of(store, shard, number) for shard, number in sorted(newest.items())}
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


def mark_dead(store: Store, key: str) -> None:
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


def claim_numbers(store: Store, shard: int) -> list[int]:
    """Numbers of a shard's claims, in order."""
    found = [CLAIM.fullmatch(key) for key in store.keys(claims_of(shard))]
    return sorted(int(match[2]) for match in found if match)


def newest_claim(store: Store, shard: int) -> int:
    """The highest number of a shard's claims; 0 if it has none."""
    return max(claim_numbers(store, shard), default=0)


def read_claim(store: Store, shard: int, number: int) -> dict[str, Any]:
    """What a claim says; {} where that cannot be read."""
    with contextlib.suppress(*DAMAGED):
        return dict(json.loads(store.read_or_none(claim_key(shard, number)) or b"").items())
    return {}


def claimant_of(store: Store, shard: int, number: int) -> Owner | None:
    """The process that made a claim; None if the claim cannot be read, or the session is gone."""
    name = read_claim(store, shard, number).get("session")
    if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{1,64}", name):
        return _owner(store.read_or_none(session_key(name)))
    return None


def _owner(content: bytes | None) -> Owner | None:
    with contextlib.suppress(*DAMAGED):
        there: dict[str, Any] = json.loads(content or b"")
        found = {name: there[name] for name in Owner._fields if name in there}  # later releases may have more
        shapes.SESSION.validate_python(found)
        owner = Owner(**found)
        if owner.pid > 0:
            return owner if "sign" in found else owner._replace(started=0.0)  # an older release kept a time of day
    return None


def session_key(name: str) -> str:
    """The file that a session renews."""
    return f"{SESSIONS}/{name}.json"


def claims_of(shard: int) -> str:
    """The folder of a shard's claims."""
    return f"{CLAIMS}/{shard:05d}"


def claim_key(shard: int, number: int) -> str:
    """The file of a shard's claim under a number."""
    return f"{claims_of(shard)}/{number:06d}.json"
