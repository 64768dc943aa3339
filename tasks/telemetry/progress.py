"""What one process has made of a run so far, counted by wave and commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tasks.decoding.models import Usage
from tasks.decoding.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class Wave:
    """What a wave did."""

    number: int
    live: list[Trajectory]
    """Those that were in it, a step longer or failed."""
    tokens: int
    """Written, whether kept or not."""
    judged: int
    """Draft steps that the acceptance rule decided on."""
    kept: int
    """Of these, accepted."""

    @classmethod
    def of(cls, number: int, live: list[Trajectory]) -> Wave:
        """What a wave of these trajectories came to."""
        tokens = judged = kept = 0
        for t in live:
            if t.status == "failed":
                continue
            for a in reversed(t.attempts):
                if a.step < t.depth - 1:
                    break
                tokens += len(a.token_ids)
                if a.probability is not None:  # of several candidates one is judged
                    judged += 1
                    kept += a.accepted
        return cls(number, live, tokens, judged, kept)


@dataclass
class Tally:
    """Counts only grow. One thread counts; others may look."""

    waves: int = 0
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
    """Of these, in a cohort that was started."""
    first_steps: int = 0
    """Trajectories whose first step was written, without one that failed."""
    single: int = 0
    """Of these, ended with it, or were cut in it."""
    single_told: bool = False
    going: Callable[[], int] = int
    """Gives the trajectories under way that have not ended."""

    def wave(self, wave: Wave, usage: dict[str, Usage]) -> None:
        """Count a wave, and what its roles computed."""
        self.waves += 1
        self.judged += wave.judged
        self.kept += wave.kept
        for t in wave.live:
            if t.depth == 1 and t.status != "failed":
                self.first_steps += 1
                self.single += bool(t.steps) and t.steps[-1].finish != "step"
        for role, used in usage.items():
            self.usage.setdefault(role, Usage()).merge(used)

    def commit(self, record: dict[str, Any]) -> None:
        """Count a committed shard by its record."""
        self.shards += 1
        self.counts.update(record["counts"])
