"""What the parent of a fleet decides: when to start a flow run for a group of shards, start it again, or give up.

Nothing here asks Prefect or waits; flows/lifecycle/fleet.py does. What is done is told by the shards alone: states of
flow runs decide only who is to be started.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from tasks.errors import FleetError, RunCancelled, UserError
from tasks.generation.shard_groups import group_of

State = Literal["waiting", "running", "done", "crashed", "cancelled"]
MISTAKE = re.compile(r"\bUserError: (.*)", re.DOTALL)
"""A mistake of the user in what Prefect keeps of an exception."""
LONG = 600.0
"""A flow run that crashes within this many seconds has crashed at once."""
LATE = 600.0
"""Seconds after which a flow run that has not begun is no longer expected: its worker may be gone, or there is none."""
FIRST_DELAY, LONGEST_DELAY = 10.0, 300.0
"""Seconds before the second restart of a flow run that crashes at once. Each further restart waits twice as long, up to
the longest."""


@dataclass(frozen=True)
class FlowRun:
    """One flow run as Prefect shows it."""

    id: str
    name: str
    group: int
    """From 1."""
    groups: int
    """Of so many: those of an earlier parent may number others."""
    attempt: int
    """From 1, within its group."""
    state: State
    message: str = ""
    seconds: float = 0.0
    """For which it ran."""
    since: float = 0.0
    """Seconds for which it has been in this state."""

    @property
    def late(self) -> bool:
        """True if it was taken so long ago without beginning that it is no longer expected."""
        return self.state == "waiting" and self.since > LATE


@dataclass(frozen=True)
class Start:
    """A flow run to be started."""

    group: int
    attempt: int
    delay: float = 0.0
    """Seconds from now."""


@dataclass
class Fleet:
    """The newest flow run of each group of shards, and flow runs that an earlier parent started with other groups."""

    groups: int
    restarts: int
    """Times that a group is started again without a shard committed in between."""
    runs: dict[tuple[int, int], FlowRun] = field(default_factory=dict)
    """Group and groups to the newest."""
    attempts: dict[int, int] = field(default_factory=dict)
    """Flow runs that a group has had, also under parents that are gone."""
    again: dict[int, int] = field(default_factory=dict)
    """Times that each group was started again since a shard was committed."""
    quick: dict[int, int] = field(default_factory=dict)
    """Times in a row that each group crashed at once."""
    left: int | None = None
    """Open shards at the last look."""

    def adopt(self, known: Collection[FlowRun]) -> None:
        """Take over what an earlier parent started, as far as it still waits or runs."""
        for run in sorted(known, key=lambda run: run.attempt):
            if run.groups == self.groups:
                self.attempts[run.group] = run.attempt
            if run.state in ("waiting", "running"):
                self.keep(run)

    def keep(self, run: FlowRun) -> None:
        """Remember how a flow run stands now."""
        self.runs[run.group, run.groups] = run

    def newest(self, group: int) -> FlowRun | None:
        """The latest flow run of a group of shards; None where none was started."""
        return self.runs.get((group, self.groups))

    def at_work(self, *states: State) -> list[FlowRun]:
        """The flow runs that have not ended."""
        return [run for run in self.runs.values() if run.state in (states or ("waiting", "running"))]

    def expected(self) -> list[FlowRun]:
        """Those at work that run, or are to be expected soon."""
        return [run for run in self.at_work() if not run.late]

    def short(self, open_shards: Collection[int]) -> bool:
        """Are there fewer to be reckoned on than there should be?"""
        return len(self.expected()) < min(self.groups, len(open_shards))

    def starts(self, open_shards: Collection[int], shards: int, free: bool) -> list[Start]:
        """What to start now: as many flow runs as there are open shards, at most one for each group.

        `free`: can any open shard be claimed at once? Only then a group without a flow run yet gets one after the first
        look, and one whose flow run found nothing to do another, where none works.
        Raises UserError for a mistake that a flow run found, FleetError where they crash again and again, RunCancelled
        where all that could go on were cancelled.
        """
        fresh = self.left is None
        if self.left is not None and len(open_shards) < self.left:
            self.again.clear()
        self.left = len(open_shards)
        for run in self.at_work("crashed"):
            if mistake := MISTAKE.search(run.message):
                raise UserError(mistake[1])
        if not self.short(open_shards):
            return []
        if not fresh and not self.at_work() and self._all_cancelled():
            raise RunCancelled("every flow run that makes shards was cancelled; what is done is kept")
        working = len(self.expected())
        wanted = min(self.groups, len(open_shards)) - working
        idle = [group for group in range(1, self.groups + 1) if self._may_start(group, fresh, free, not working)]
        own = {group: any(n in group_of(group, self.groups, shards) for n in open_shards) for group in idle}
        idle.sort(key=lambda group: not own[group])
        return [self._start(group) for group in idle[:wanted]]

    def _all_cancelled(self) -> bool:
        """All that there were, or every group: those of an earlier parent cannot be started again."""
        own = [self.newest(group) for group in range(1, self.groups + 1)]
        return any(
            all(run is not None and run.state == "cancelled" for run in runs) for runs in (self.runs.values(), own)
        )

    def _may_start(self, group: int, fresh: bool, free: bool, alone: bool) -> bool:
        if (run := self.newest(group)) is None:
            return fresh or free
        return run.state == "crashed" or (run.state == "done" and free and alone)

    def _start(self, group: int) -> Start:
        run, delay = self.newest(group), 0.0
        if run is not None:
            if (times := self.again.get(group, 0)) >= self.restarts:
                why = run.message or "it ended without making any of the open shards"
                raise FleetError(
                    f"flow run {run.name}: {why}; it was started again {times} times without a shard committed in "
                    "between"
                )
            self.again[group] = times + 1
            self.quick[group] = self.quick.get(group, 0) + 1 if run.seconds < LONG else 0
            if (quick := self.quick[group]) > 1:
                delay = min(FIRST_DELAY * 2 ** (quick - 2), LONGEST_DELAY)
        self.attempts[group] = self.attempts.get(group, 0) + 1
        return Start(group, self.attempts[group], delay)
