"""The cohorts in flight, and whether one more may join them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.decoding.trajectory import Trajectory
from tasks.engines.concurrency import Flight
from tasks.generation.admission import Admission

UNCOMMITTED = 2
"""With this many decoded shards that wait for their commit, no new cohort starts: they hold memory."""


class InFlight:
    """Cohorts under way. One is always admitted where there is none."""

    def __init__(self, flight: Flight, longest: int, paths: int = 1) -> None:
        """`longest`: most tokens of a solution. `paths`: paths of a trajectory, such as beams."""
        self.flight, self.paths = flight, paths
        self.going: dict[int, list[Trajectory]] = {}
        """The trajectories of each cohort that have not ended, as last seen."""
        self.numbers = iter(range(1 << 62))
        self.committing = 0
        self.changed = asyncio.Event()
        self.admission: Admission | None = None
        if flight.by_tokens and flight.room is not None:
            self.admission = Admission(flight.room, longest)

    async def admit(self, cohort: list[Trajectory]) -> int:
        """Wait until there is room for a cohort, and count it in; returns the number under which it leaves."""
        while not self.admits(cohort):
            self.changed.clear()
            await self.changed.wait()
        number = next(self.numbers)
        self.going[number] = list(cohort)
        return number

    def leave(self, number: int) -> None:
        """Count a cohort out, by the number under which `admit` let it in."""
        self._learn()
        del self.going[number]
        self.changed.set()

    def trajectories(self) -> int:
        """Those under way that have not ended; from whatever thread."""
        return sum(t.status is None for cohort in list(self.going.values()) for t in list(cohort))

    def moved(self) -> None:
        """A wave has ended: solutions are longer now, or done."""
        self.changed.set()

    @contextmanager
    def commit(self) -> Iterator[None]:
        """A shard is being committed in the block; no cohort is let in while too many are."""
        self.committing += 1
        try:
            yield
        finally:
            self.committing -= 1
            self.changed.set()

    def admits(self, cohort: list[Trajectory]) -> bool:
        """True if there is room for a cohort now."""
        if self.committing >= UNCOMMITTED:
            return False
        if not self.going:
            return True
        if len(self.going) >= self.flight.cohorts:
            return False
        if self.admission is None:
            return True
        self._learn()
        prompts, written = [], []
        for trajectories in self.going.values():
            for t in trajectories:
                going = [self._size(path) for path in t.paths] if t.depth else [self._size(t)] * self.paths
                prompts += [prompt if n == 0 else 0 for n, (prompt, _) in enumerate(going)]  # paths share it
                written += [solution for _, solution in going]
        new = [prompt for t in cohort for prompt in (self._size(t)[0], *[0] * (self.paths - 1))]
        return self.admission.admits((prompts, written), new)

    def _learn(self) -> None:
        """Remove trajectories that have ended. Failed ones are not used to estimate lengths."""
        if self.admission is None:
            return
        for trajectories in self.going.values():
            for t in trajectories:
                if t.status not in (None, "failed"):
                    self.admission.lengths.end(self._size(t)[1])
            trajectories[:] = [t for t in trajectories if t.status is None]

    def _size(self, trajectory: Trajectory) -> tuple[int, int]:
        """Tokens of the prompt and of the solution, as the role with the least room reads them."""
        assert self.flight.binds is not None
        context = trajectory.contexts[self.flight.binds]
        return context.ends[0], len(context.ids) - context.ends[0]
