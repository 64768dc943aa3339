"""Where a dataset goes: whose place it is, who writes to it, and in which order.

Everything is ready on this machine before the first file is written. Then README.md goes, which tells loaders what to
read, and export.json says that the rest is not whole; then all old data goes, so that old and new files are never there
together; then come the data, README.md, and export.json with the checksum of every file. A dataset without README.md is
not whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.errors import UserError
from tasks.output import claims
from tasks.output.liveness import DEAD
from tasks.output.session import Session, shown
from tasks.storage.store import Store

RECORD = "export.json"
OLD_LOCK = "export.lock"
"""What an earlier release leaves while it writes."""
AT_WORK = "checkpoints"
"""Folder of what tells who writes, as in the output of a run; there while somebody does."""
CLAIM = 0
"""The number under which the destination is claimed, as a shard of a run is."""
POLL = 2.0
"""Seconds between looks at a writer that nobody heard of yet."""
CARD = "README.md"
DATA = re.compile(r"data/[A-Za-z_]\w*-\d{5,}-of-\d{5,}\.parquet")


class Destination:
    """Where a dataset goes: it is taken by one export at a time, and replaced as a whole."""

    def __init__(self, store: Store, kind: str) -> None:
        self.store, self.kind = store, kind
        self.session = Session(store)

    def check(self) -> None:
        """Raises UserError if the place holds anything but a dataset of this kind, which may be made anew."""
        there = [key for key in self.store.keys("") if key != OLD_LOCK and not key.startswith(f"{AT_WORK}/")]
        if not there:
            return
        made = read_record(self.store.read_or_none(RECORD))
        if made is None:
            raise UserError(
                f"{self.store.path()}: holds files that are not an export's (such as {there[0]}); "
                "give the dataset a place of its own"
            )
        if made.get("kind") != self.kind:
            raise UserError(
                f"{self.store.path()}: holds a dataset of kind {made.get('kind')}; give this one a place of its own"
            )

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the destination while the block runs, so that nobody else writes to it. Raises UserError if another
        export holds it, or if the place is another's."""
        self.check()
        if self.store.read_or_none(OLD_LOCK) is not None:
            raise UserError(
                f"{self.store.path()}: an export of an earlier release writes here; if none does, remove "
                f"{self.store.path(OLD_LOCK)}"
            )
        with shown(self.session):
            self._claim()
            try:
                yield
            finally:
                self.session.give_back(CLAIM)
                self._drop_the_dead()

    def _claim(self) -> None:
        """Claim the destination. If an export on another machine holds it and shows no sign of life, wait until it
        counts as dead."""
        first = None
        while not self.session.claim(CLAIM):
            owner = claims.claimants(self.store).get(CLAIM)
            if owner is None or owner.ended:
                continue
            if claims.seen_here(owner) or (first is not None and owner != first):
                raise UserError(f"{self.store.path()}: another export writes here ({owner})")
            if first is None:
                self.store.retry.say(
                    f"{self.store.path()}: an export of {owner} has not ended; without a sign of life for {DEAD:.0f} s "
                    "it counts as dead"
                )
            first = owner
            time.sleep(POLL)

    def _drop_the_dead(self) -> None:
        """Drop what writers left that did not come to their end."""
        living = self.session.living
        since = living.beats
        left = [owner for owner in claims.sessions(self.store) if not claims.alive(owner, living, since)]
        self.store.delete([claims.session_key(owner.session) for owner in left])

    def _go_on(self) -> None:
        """Raises UserError if another export took the place while this process was stopped or cut off."""
        if not self.session.holds(CLAIM, take_back=False):
            raise UserError(f"{self.store.path()}: another export took this place over; this one leaves it alone")

    def publish(self, files: dict[str, str], card: str, record: dict[str, Any]) -> bytes:
        """Write a dataset in the place of the one that is there. `files`: name to where it is on this machine. Returns
        what export.json holds."""
        self._go_on()
        self.store.delete([CARD])
        self.store.write(RECORD, _json({"kind": self.kind, "complete": False}))
        self.store.delete([key for key in self.store.keys("data") if DATA.fullmatch(key)])
        written = {}
        for name, path in files.items():
            with open(path, "rb") as f:
                content = f.read()
            self._go_on()
            self.store.write(name, content)
            written[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self._go_on()
        self.store.write(CARD, card.encode())
        whole = _json({"kind": self.kind, "complete": True, **record, "files": written})
        self.store.write(RECORD, whole)
        return whole


def read_record(content: bytes | None) -> dict[str, Any] | None:
    """The content of an export.json; None if it is none of ours."""
    try:
        made = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) and {"kind", "complete"} <= made.keys() else None


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
