"""What one process has made of a run so far, counted by step and commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tasks.decoding.trajectory import Trajectory
from tasks.decoding.usage import Usage


@dataclass(frozen=True, slots=True)
class Round:
    """What a trajectory's round came to: one step more, or a failure."""

    tokens: int
    """Written, whether kept or not."""
    judged: int = 0
    """Draft steps that the acceptance rule decided on: one, even of several candidates."""
    kept: int = 0
    """Of these, accepted."""

    @classmethod
    def of(cls, trajectory: Trajectory) -> Round:
        """What the last round of a trajectory came to."""
        tokens = judged = kept = 0
        if trajectory.status != "failed":
            last = trajectory.depth - 1
            for a in reversed(trajectory.attempts):
                if a.step < last:
                    break
                tokens += len(a.token_ids)
                if a.probability is not None:
                    judged += 1
                    kept += a.accepted
        return cls(tokens, judged, kept)


@dataclass
class Tally:
    """Counts only grow. One thread counts; others may look."""

    rounds: int = 0
    judged: int = 0
    kept: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    """Role to what its engines computed."""
    shards: int = 0
    """Committed."""
    counts: Counter[str] = field(default_factory=Counter)
    """Sums of their records' counts."""
    claimed: int = 0
    """Trajectories of the shards that were taken up."""
    begun: int = 0
    """Of these, admitted."""
    first_steps: int = 0
    """Trajectories whose first step was written, without one that failed."""
    single: int = 0
    """Of these, ended with it, or were cut in it."""
    single_told: bool = False
    going: Callable[[], int] = int
    """Gives the trajectories under way."""

    def round(self, trajectory: Trajectory) -> Round:
        """Count the last round of a trajectory, and return what it came to."""
        done = Round.of(trajectory)
        self.rounds += 1
        self.judged += done.judged
        self.kept += done.kept
        if trajectory.depth == 1 and trajectory.status != "failed":
            self.first_steps += 1
            self.single += bool(trajectory.steps) and trajectory.steps[-1].finish != "step"
        return done

    def commit(self, record: dict[str, Any]) -> None:
        """Count a committed shard by its record."""
        self.shards += 1
        self.counts.update(record["counts"])
