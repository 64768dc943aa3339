"""Claims and sessions as other processes leave them."""

from __future__ import annotations

import json
import time
from typing import Any

from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.liveness import BEATS, LivenessTracker
from tasks.output.session import Session
from tasks.storage.store import Store


def put(store: Store, shard: int = 0, number: int = 1, name: str = "abc", **about: Any) -> None:
    """A claim, and the session of another process that made it."""
    now = time.time()
    owner = {"session": name, "host": "elsewhere", "pid": 7, "started": 0.0, "began": now, "renewed": now, "sign": 1}
    store.write(
        f"checkpoints/sessions/{name}.json", json.dumps(owner | {"generated": {}, "ended": False} | about).encode()
    )
    store.write(f"checkpoints/claims/{shard:05d}/{number:06d}.json", json.dumps({"session": name}).encode())


def claims_of(store: Store) -> list[str]:
    return [key.removeprefix("checkpoints/claims/") for key in store.keys("checkpoints/claims")]


def holders(store: Store) -> dict[int, Owner]:
    """As for one who has heard of nobody yet."""
    return claims.holders(store, LivenessTracker())


def outlive(session: Session) -> None:
    """Let a session go on for as long as others may be silent."""
    for _ in range(BEATS):
        session.beat()
