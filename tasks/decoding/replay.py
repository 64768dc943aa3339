"""Attempts that were written before, taken again by their trajectories."""

from __future__ import annotations

import dataclasses
from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tasks.decoding.rewards import reward_of
from tasks.decoding.trajectory import Attempt, Trajectory

STORED = [f.name for f in dataclasses.fields(Attempt) if f.name != "read_as"]
"""Fields of an attempt that are columns of the steps table."""


def replay(trajectories: Iterable[Trajectory], rows: list[dict[str, Any]], proposals: int = 1) -> None:
    """Let trajectories take the steps of a steps table's rows again. `proposals`: candidates for a step of a path.

    Steps after a gap, not whole, or with a reward that is none (earlier releases decided by such) are left out: they
    will be written again. So will what a search wrote beyond its solution's last step, where a table of ended ones has
    that as later attempts at that step.
    """
    found: dict[tuple[str, int], dict[int, dict[int, dict[int, dict[str, Any]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for row in rows:
        found[row["problem_id"], row["sample"]][row["step"]][row["wave"]][row["attempt"]] = row
    for t in trajectories:
        steps = found.get((t.problem_id, t.sample), {})
        wave = -1
        while waves := {w: step for w, step in steps.get(t.depth, {}).items() if w > wave and 0 in step}:
            wave = max(waves)  # a step that was written twice counts as it was last
            attempts = waves[wave]
            step = [_attempt(attempts[i]) for i in range(len(attempts)) if i in attempts]
            if (
                len(step) < len(attempts)
                or not t.is_complete(step, proposals)
                or not all(map(_decidable, attempts.values()))
            ):
                break
            t.rounds = wave
            t.take(step)
        t.rounds = max((w + 1 for step in steps.values() for w in step), default=0)


def _decidable(row: dict[str, Any]) -> bool:
    return row["reward"] is None or reward_of(row["reward"]) is not None


def _attempt(row: dict[str, Any]) -> Attempt:
    stored = {name: row[name] for name in STORED if name in row}  # those of an older release have fewer
    if stored["reward"] is not None:
        stored["reward"] = reward_of(stored["reward"])
    return Attempt(**stored | {"token_ids": array("i", row["token_ids"])})
