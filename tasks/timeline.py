"""When the engines of a run were at work: every process leaves its own bars, and the one that finishes draws them all.

Nothing here is needed to make solutions: what cannot be kept, read or drawn costs the picture, never the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.lanes import Bar, Lane
from tasks.metering import Meters
from tasks.store import Store

PICTURE = "report/timeline.svg"
FOLDER = "report/timeline"
PROCESSES = 24
"""Most processes of a picture: the latest."""
ORDER = ("draft", "prm", "target")
"""Roles in the order of a wave."""


@dataclass(frozen=True)
class RoleLane:
    """One role's engine in one process. Times of bars are microseconds since the process began."""

    role: str
    starts: list[Bar]
    ready: list[Bar]
    tracks: list[list[Bar]]
    work: int
    """Microseconds at work."""

    @property
    def busy(self) -> float:
        """Share of its readiness in which it was at work; several tracks at once count once. NaN if never ready."""
        ready = sum(bar.busy for bar in self.ready)
        return min(1.0, self.work / ready) if ready else math.nan


@dataclass(frozen=True)
class Process:
    session: str
    began: float
    """Seconds since the epoch."""
    lanes: list[RoleLane]

    @property
    def lasted(self) -> float:
        """Seconds until the end of its last bar."""
        ends = [bars[-1].end for lane in self.lanes for bars in (lane.starts, lane.ready, *lane.tracks) if bars]
        return max(ends, default=0) / 1e6


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
        kept: dict[str, Any] = json.loads(content)
        roles = sorted(kept["roles"], key=lambda role: (ORDER.index(role) if role in ORDER else len(ORDER), role))
        lanes = [_lane(role, kept["roles"][role]) for role in roles]
        began = float(kept["began"])
        return Process(str(kept["session"]), began, lanes) if math.isfinite(began) else None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, AssertionError):
        return None


def _lane(role: str, kept: dict[str, Any]) -> RoleLane:
    def bars(rows: list[list[int]]) -> list[Bar]:
        lane = Lane()
        for start, end, busy in rows:
            lane.add(0, Bar(int(start), int(end), int(busy)))
        return lane.tracks[0] if lane.tracks else []

    starts, ready = ([bar for track in kept[name] for bar in bars(track)] for name in ("starts", "ready"))
    return RoleLane(role, starts, ready, [bars(track) for track in kept["work"]], int(kept["busy"]))


def without_pauses(spans: list[tuple[float, float]]) -> tuple[list[float], list[tuple[float, float]]]:
    """Where spans (begin and seconds, in the order in which they begin) stand on a clock that runs only while there is
    one. Returns each one's place, and of each pause its place and seconds."""
    places: list[float] = []
    pauses: list[tuple[float, float]] = []
    skipped = reached = spans[0][0] if spans else 0.0
    for began, lasts in spans:
        if began > reached:
            pauses.append((reached - skipped, began - reached))
            skipped += began - reached
        places.append(began - skipped)
        reached = max(reached, began + lasts)
    return places, pauses


def draw(store: Store, warn: Callable[[str], None]) -> None:
    """Draw the bars of all processes to report/timeline.svg."""
    try:
        if found := processes(store):
            from tasks.timeline_picture import picture  # a second, and only where it is drawn

            store.write(PICTURE, picture(found))
    except Exception as error:
        warn(f"{store.path(PICTURE)} could not be drawn: {error}")
