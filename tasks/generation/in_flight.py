"""The trajectories in flight, and whether one more may join them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.decoding.trajectory import Trajectory
from tasks.engines.concurrency import Flight
from tasks.generation.admission import Admission

UNCOMMITTED = 2
"""With so many decoded shards that wait for their commit, no trajectory starts: they hold memory."""
OFTEN = 16
"""What those in flight need is estimated anew when one in so many of them has ended."""


class InFlight:
    """Trajectories under way. One is always admitted where there is none."""

    def __init__(self, flight: Flight, longest: int, paths: int = 1) -> None:
        """`longest`: most tokens of a solution. `paths`: paths of a trajectory, such as beams."""
        self.flight, self.paths = flight, paths
        self.going: dict[Trajectory, float] = {}
        """Trajectory to the tokens that it is expected to need, 0 where no cache is known."""
        self.committing = 0
        self.changed = asyncio.Event()
        self.admission: Admission | None = None
        if flight.by_tokens and flight.room is not None:
            self.admission = Admission(flight.room, longest)
        self.room = float(flight.room or 0)
        """Tokens that are expected to stay free."""
        self.ended = 0
        """Trajectories that ended since the last estimate."""

    async def admit(self, trajectory: Trajectory) -> None:
        """Wait until there is room for a trajectory, and count it in."""
        while not self.admits(trajectory):
            self.changed.clear()
            await self.changed.wait()
        need = self._need(trajectory)
        self.going[trajectory] = need
        self.room -= need

    def leave(self, trajectory: Trajectory) -> None:
        """Count a trajectory out."""
        self.room += self.going.pop(trajectory)
        self.ended += 1
        if self.admission is not None and trajectory.status not in (None, "failed"):
            self.admission.lengths.end(self._size(trajectory)[1])  # a failed one does not tell how long solutions are
        self.changed.set()

    def trajectories(self) -> int:
        """Those under way; from whatever thread."""
        return len(self.going)

    @contextmanager
    def commit(self) -> Iterator[None]:
        """A shard is being committed in the block; no trajectory is let in while too many are."""
        self.committing += 1
        try:
            yield
        finally:
            self.committing -= 1
            self.changed.set()

    def admits(self, trajectory: Trajectory) -> bool:
        """True if there is room for a trajectory now."""
        if self.committing >= UNCOMMITTED:
            return False
        if not self.going:
            return True
        if len(self.going) >= self.flight.trajectories:
            return False
        if self.admission is None:
            return True
        if self.ended * OFTEN >= len(self.going):
            self._estimate(self.admission)
        return self._need(trajectory) <= self.room

    def _need(self, trajectory: Trajectory) -> float:
        """Tokens that a trajectory which starts is expected to need."""
        if self.admission is None:
            return 0.0
        prompt, written = self._size(trajectory)
        return prompt + self.paths * max(self.admission.expected, written)

    def _estimate(self, admission: Admission) -> None:
        """Estimate anew what those in flight will need. Paths of a trajectory share its prompt."""
        self.ended = 0
        sizes = {t: [self._size(path)[1] for path in t.paths] if t.depth else [0] * self.paths for t in self.going}
        finals = iter(admission.estimate([written for some in sizes.values() for written in some]))
        for t, some in sizes.items():
            self.going[t] = self._size(t)[0] + sum(next(finals) for _ in some)
        self.room = admission.room - sum(self.going.values())

    def _size(self, trajectory: Trajectory) -> tuple[int, int]:
        """Tokens of the prompt and of the solution, as the role with the least room reads them."""
        assert self.flight.binds is not None
        context = trajectory.contexts[self.flight.binds]
        return context.ends[0], len(context.ids) - context.ends[0]
