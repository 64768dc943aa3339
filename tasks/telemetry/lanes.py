"""When an engine was busy, in as few bars as a picture can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

BARS = 2000
"""Most bars of a lane."""
FINEST = 1000
"""Microseconds to which the first bars are resolved."""


class Bar(NamedTuple):
    """A time of work, or several in close succession. Times are whole microseconds, so that sums are exact."""

    start: int
    end: int
    busy: int
    """Time at work between start and end."""


class Lane:
    """Tracks of bars, each in order and disjoint. Neighbours that together are shorter than `resolution` become one;
    where the bars grow too many, the resolution doubles. No time at work is lost by that."""

    def __init__(self, most: int = BARS) -> None:
        self.most = most
        self.resolution = FINEST
        self.tracks: list[list[Bar]] = []

    def add(self, track: int, bar: Bar) -> None:
        """Add what comes after all that the track holds."""
        while len(self.tracks) <= track:
            self.tracks.append([])
        bars = self.tracks[track]
        assert not bars or bars[-1].end <= bar.start, f"{bar} comes before the end of {bars[-1]}"
        _join(bars, bar, self.resolution)
        if self._bars() > self.most:
            self.coarsen(self.most // 2)

    def coarsen(self, most: int) -> None:
        """Leave at most so many bars, or one a track."""
        while self._bars() > max(most, len(self.tracks)):
            self.resolution *= 2
            self.tracks = [_joined(bars, self.resolution) for bars in self.tracks]

    def copy(self) -> Lane:
        """A copy with bars of its own."""
        other = Lane(self.most)
        other.resolution, other.tracks = self.resolution, [list(bars) for bars in self.tracks]
        return other

    def _bars(self) -> int:
        return sum(map(len, self.tracks))


def _joined(bars: list[Bar], resolution: int) -> list[Bar]:
    joined: list[Bar] = []
    for bar in bars:
        _join(joined, bar, resolution)
    return joined


def _join(bars: list[Bar], bar: Bar, resolution: int) -> None:
    if bars and bar.end - bars[-1].start <= resolution:
        last = bars.pop()
        bar = Bar(last.start, bar.end, last.busy + bar.busy)
    bars.append(bar)


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
    """What one process's engines did, for the timeline."""

    session: str
    began: float
    """Seconds since the epoch."""
    lanes: list[RoleLane]

    @property
    def lasted(self) -> float:
        """Seconds until the end of its last bar."""
        ends = [bars[-1].end for lane in self.lanes for bars in (lane.starts, lane.ready, *lane.tracks) if bars]
        return max(ends, default=0) / 1e6
