"""When the engines of a run were at work: every process leaves its own bars, and the one that finishes draws them all.

Nothing here is needed to make solutions: what cannot be kept, read or drawn costs the picture, never the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tasks.storage.store import Store
from tasks.telemetry.lanes import Bar, Lane, Process, RoleLane
from tasks.telemetry.metering import Meters

PICTURE = "report/timeline.svg"
FOLDER = "report/timeline"
PROCESSES = 24
"""Most processes of a picture: the latest."""
LONGEST = 2 << 20
"""Bytes of a process's file, whose lanes have so many bars at most."""
LATEST = 1 << 60
"""Microseconds."""
NAME = re.compile(r"\w{1,40}")
ORDER = ("draft", "prm", "target")
"""Roles in the order of a wave."""


def keep(store: Store, session: str, began: float, meters: Meters) -> None:
    """Keep the bars of this process so far. Raises StoreError, UserError."""
    if drawn := meters.drawn():
        content = {"session": session, "began": began, "roles": drawn}
        store.write(f"{FOLDER}/{int(began):010d}-{session}.json", json.dumps(content, separators=(",", ":")).encode())


def processes(store: Store) -> list[Process]:
    """The latest processes that left bars, in the order in which they began; damaged files are left out."""
    keys = [key for key in store.keys(FOLDER) if key.endswith(".json")][-PROCESSES:]
    found = [process for content in store.read_many(keys).values() if (process := _process(content))]
    return sorted(found, key=lambda process: (process.began, process.session))


def _process(content: bytes) -> Process | None:
    try:
        kept: dict[str, Any] = json.loads(content if len(content) <= LONGEST else b"")
        roles = sorted(kept["roles"], key=lambda role: (ORDER.index(role) if role in ORDER else len(ORDER), role))
        lanes = [_lane(role, kept["roles"][role]) for role in roles]
        began, session = float(kept["began"]), str(kept["session"])
        whole = 0 <= began <= LATEST and len(lanes) <= len(ORDER) and all(map(NAME.fullmatch, (session, *roles)))
        return Process(session, began, lanes) if whole else None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, AssertionError):
        return None


def _lane(role: str, kept: dict[str, Any]) -> RoleLane:
    def bars(rows: list[list[int]]) -> list[Bar]:
        lane = Lane()
        for start, end, busy in rows:
            assert 0 <= start <= end <= LATEST, "times that are none"
            assert 0 <= busy <= end - start, "at work for longer than it lasted"
            lane.add(0, Bar(int(start), int(end), int(busy)))
        return lane.tracks[0] if lane.tracks else []

    starts, ready = ([bar for track in kept[name] for bar in bars(track)] for name in ("starts", "ready"))
    return RoleLane(role, starts, ready, [bars(track) for track in kept["work"]], int(kept["busy"]))


def draw(store: Store, warn: Callable[[str], None]) -> None:
    """Draw the bars of all processes to report/timeline.svg."""
    try:
        if found := processes(store):
            from tasks.telemetry.timeline_svg import picture  # a second, and only where it is drawn

            store.write(PICTURE, picture(found))
    except Exception as error:
        warn(f"{store.path(PICTURE)} could not be drawn: {error}")
