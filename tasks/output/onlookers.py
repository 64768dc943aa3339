"""Which processes work on an output, for commands that only look.

Whether a process of this machine exists can be seen. For another one, the store's own clock tells how old its last sign
of life is, if the store shows a clock. A sign that is too old, or from the future, tells nothing, because clocks may be
wrong. Then the process is watched for a moment: it is at work if another sign follows.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.liveness import DEAD, RENEW
from tasks.storage.store import Store

WATCH = 1.5 * RENEW
"""Seconds for which a doubtful process is watched."""
LOOK = 0.5
"""Seconds between looks at it."""


class Seen(NamedTuple):
    """A process that is at work as far as can be seen."""

    owner: Owner
    age: float | None
    """Seconds since its last sign of life, by the store's clock; None where that does not tell."""


def active(store: Store, owners: Collection[Owner]) -> dict[str, Seen]:
    """Session to the process, for those of `owners` that seem to be at work."""
    known = {owner.session: owner for owner in owners if not owner.ended}
    if not known:
        return {}
    found: dict[str, Seen] = {}
    doubtful: set[str] = set()
    times = store.times(claims.SESSIONS)
    for name, owner in known.items():
        written = times.written.get(claims.session_key(name))
        age = None if times.now is None or written is None else times.now - written
        there = claims.seen_here(owner)
        if there or (there is None and age is not None and 0 <= age < DEAD):
            found[name] = Seen(owner, age if age is not None and age >= 0 else None)
        elif there is None:
            doubtful.add(name)
    first, deadline = store.stats(claims.SESSIONS), time.monotonic() + WATCH
    while doubtful and time.monotonic() < deadline:
        time.sleep(LOOK)
        now = store.stats(claims.SESSIONS)
        for name in [name for name in doubtful if now.get(key := claims.session_key(name)) != first.get(key)]:
            doubtful.discard(name)
            if (renewed := claims.session(store, claims.session_key(name))) and not renewed.ended:
                found[name] = Seen(renewed, 0.0)
    return found


def holders(store: Store) -> dict[int, Seen]:
    """Shard to the process that has claimed it and seems to be at work."""
    claimants = claims.claimants(store)
    found = active(store, claimants.values())
    return {shard: found[owner.session] for shard, owner in claimants.items() if owner.session in found}
