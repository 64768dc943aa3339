"""Where a dataset goes: whose place it is, who writes to it, and in which order.

Everything is ready on this machine before the first file is written. Then README.md goes, which tells loaders what to
read, and export.json says that the rest is not whole; then all old data goes, so that old and new files are never there
together; then come the data, README.md, and export.json with the checksum of every file. A dataset without README.md is
not whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from tasks.errors import UserError
from tasks.store import Store

RECORD = "export.json"
LOCK = "export.lock"
CARD = "README.md"
DATA = re.compile(r"data/[A-Za-z_]\w*-\d{5,}-of-\d{5,}\.parquet")


class Destination:
    def __init__(self, store: Store, kind: str) -> None:
        self.store, self.kind = store, kind

    def check(self) -> None:
        """UserError where the place holds anything but a dataset of this kind, which may be made anew."""
        there = [key for key in self.store.keys("") if key != LOCK]
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
        """Nobody else writes meanwhile. UserError where somebody does."""
        content = _writer()
        if not self.store.create(LOCK, content):
            if _at_work(self.store.read_or_none(LOCK)):
                raise UserError(
                    f"{self.store.path()}: another export writes here; if none does, remove {self.store.path(LOCK)}"
                )
            self.store.write(LOCK, content)
        try:
            yield
        finally:
            if self.store.read_or_none(LOCK) == content:
                self.store.delete([LOCK])

    def publish(self, files: dict[str, str], card: str, record: dict[str, Any]) -> bytes:
        """Write a dataset in the place of the one that is there. `files`: name to where it is on this machine. Returns
        what export.json holds."""
        self.store.delete([CARD])
        self.store.write(RECORD, _json({"kind": self.kind, "complete": False}))
        self.store.delete([key for key in self.store.keys("data") if DATA.fullmatch(key)])
        written = {}
        for name, path in files.items():
            with open(path, "rb") as f:
                content = f.read()
            self.store.write(name, content)
            written[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self.store.write(CARD, card.encode())
        whole = _json({"kind": self.kind, "complete": True, **record, "files": written})
        self.store.write(RECORD, whole)
        return whole


def read_record(content: bytes | None) -> dict[str, Any] | None:
    """What an export.json says; None where it is none of ours."""
    try:
        made = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) and {"kind", "complete"} <= made.keys() else None


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _writer() -> bytes:
    pid = os.getpid()
    began = psutil.Process(pid).create_time()
    return _json(
        {
            "host": socket.gethostname(),
            "pid": pid,
            "process_began": began,
            "at": time.time(),
            "id": secrets.token_hex(8),
        }
    )


def _at_work(content: bytes | None) -> bool:
    """May who left this lock still be at work? On this machine that can be seen."""
    try:
        owner = json.loads(content or b"")
        if owner["host"] != socket.gethostname():
            return True
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["process_began"]) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (ValueError, LookupError, TypeError, psutil.Error):
        return content is not None
