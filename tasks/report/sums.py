"""Sums over the tables of runs, a shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.output.reading import committed_tables
from tasks.problems.metadata import whole_level_of
from tasks.report.places import ReportedRun
from tasks.report.texts import plain, short

AHEAD = 4
"""Shards that are read ahead: a store far away answers slowly."""
BINS = 40
"""Of a histogram of rewards over [0, 1]."""
INDICES = 64
"""Steps told apart by their index; later ones count as the last."""
MOST_LEVELS = 200
"""Levels that are told apart. A column `level` with more values is not taken for one."""
SOLUTION_COLUMNS = [
    "problem_id",
    "sample",
    "problem",
    "reference",
    "answer",
    "correct",
    "status",
    "error",
    "draft_steps",
    "target_steps",
    "draft_tokens",
    "draft_tokens_kept",
    "target_tokens",
    "prm_tokens",
    "min_reward",
    "metadata",
    "picked",
    "score",
    "verdict",
]
STEP_COLUMNS = ["problem_id", "sample", "step", "attempt", "role", "text", "tokens", "reward", "accepted", "parent"]


def _zeros(*shape: int) -> Callable[[], np.ndarray]:
    return lambda: np.zeros(shape, np.int64)


@dataclass
class Sums:
    """Sums over solutions and steps; those of several runs can be added."""

    solutions: int = 0
    picked: int = 0
    """Answers of the method to problems that have a reference."""
    solved: int = 0
    """Of those, the correct ones."""
    scores: list[pl.DataFrame] = field(default_factory=list)
    """problem_id, score: of each of those answers 0 or 1; a table for each shard."""
    bad_references: int = 0
    """Answers that could not be judged, for their references cannot be read."""
    unsound: int = 0
    """Attempts whose reward is none: see tasks/output/sound_rewards.py."""
    steps: np.ndarray = field(default_factory=_zeros(INDICES, 2))
    """[index, draft | target] of accepted steps."""
    rewards: np.ndarray = field(default_factory=_zeros(2, BINS))
    """[rejected | accepted] attempts by their reward."""
    least: np.ndarray = field(default_factory=_zeros(2, BINS))
    """[wrong | right] solutions by the least reward of their kept steps that were scored."""
    levels: dict[str, np.ndarray] = field(default_factory=dict)
    """Level to: steps of the draft, of the target, picked answers with a reference, correct ones."""
    tokens: dict[str, int] = field(default_factory=dict)
    """draft_tokens, draft_tokens_kept, target_tokens, prm_tokens."""

    def add(self, solutions: pa.Table, steps: pa.Table, unsound: int = 0) -> None:
        """Take in a shard as `read` gives it."""
        self.unsound += unsound
        self.solutions += len(solutions)
        counted = _bools(solutions["picked"]) & ~np.array(solutions["reference"].is_null())
        if "verdict" in solutions.schema.names:
            unread = np.array(solutions["verdict"].is_null()) & (
                np.array(solutions["status"].to_pylist(), dtype=object) != "failed"
            )
            self.bad_references += int((counted & unread).sum())
            counted &= ~unread
        right = _bools(solutions["correct"])
        self.picked += int(counted.sum())
        self.solved += int((counted & right).sum())
        answered = solutions["problem_id"].filter(pa.array(counted))
        self.scores.append(pl.DataFrame({"problem_id": pl.from_arrow(answered), "score": right[counted]}))
        for name in ("draft_tokens", "draft_tokens_kept", "target_tokens", "prm_tokens"):
            self.tokens[name] = self.tokens.get(name, 0) + int(_numbers(solutions[name]).sum())
        least, judged = _numbers(solutions["min_reward"]), ~np.array(solutions["correct"].is_null())
        for row, of in enumerate((judged & ~right, judged & right)):
            self.least[row] += _histogram(least[of])
        self._levels(solutions, counted, right)
        accepted, reward = _bools(steps["accepted"]), _numbers(steps["reward"])
        for row, of in enumerate((~accepted, accepted)):
            self.rewards[row] += _histogram(reward[of])
        index = np.minimum(_numbers(steps["step"])[accepted].astype(np.int64), INDICES - 1)
        from_target = np.array(steps["role"].to_pylist(), dtype=object)[accepted] == "target"
        np.add.at(self.steps, (index, from_target.astype(np.int64)), 1)

    def _levels(self, solutions: pa.Table, counted: np.ndarray, right: np.ndarray) -> None:
        names = ("draft_steps", "target_steps")
        rows = np.stack([*(_numbers(solutions[name]) for name in names), counted, counted & right], axis=1)
        for metadata, row in zip(solutions["metadata"].to_pylist(), rows, strict=True):
            if (level := level_of(metadata)) and (level in self.levels or len(self.levels) <= MOST_LEVELS):
                self.levels[level] = self.levels.get(level, 0) + row.astype(np.int64)

    def __iadd__(self, other: Sums) -> Sums:
        for name in (
            "solutions",
            "picked",
            "solved",
            "scores",
            "bad_references",
            "unsound",
            "steps",
            "rewards",
            "least",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for level, row in other.levels.items():
            self.levels[level] = self.levels.get(level, 0) + row
        for name, n in other.tokens.items():
            self.tokens[name] = self.tokens.get(name, 0) + n
        return self

    def problems(self) -> np.ndarray:
        """The score of each problem that has answers, in order of problem_id: float64, the mean over its answers."""
        if not self.picked:
            return np.zeros(0)
        every = pl.concat(self.scores).group_by("problem_id").agg(pl.col("score").mean()).sort("problem_id")
        return every["score"].to_numpy()

    @property
    def accuracy(self) -> float | None:
        """Share of problems solved, of those with a verdict; None if there are none."""
        return self.solved / self.picked if self.picked else None

    @property
    def target_share(self) -> float | None:
        """Of the accepted steps, those that the target wrote."""
        return float(self.steps[:, 1].sum() / total) if (total := self.steps.sum()) else None


def read(run: ReportedRun) -> Iterator[tuple[pa.Table, pa.Table, int]]:
    """Solutions and steps of a run, and how many of their rewards were none and are null here, a committed shard at a
    time, the next ones already on their way. Raises UserError if a table cannot be read."""
    columns = {"solutions": SOLUTION_COLUMNS, "steps": STEP_COLUMNS}
    for _, (solutions, steps) in committed_tables(run.output, run.records, columns, AHEAD):
        place = solutions.table.schema.get_field_index("picked")
        # null in a run from before there were methods that pick
        picked = pc.fill_null(solutions.table["picked"], True)
        yield solutions.table.set_column(place, "picked", picked), steps.table, steps.unsound


def level_of(metadata: str | None) -> str:
    """A problem's level as it is drawn: a long name without its middle."""
    return short(plain(whole_level_of(metadata)))


def _bools(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.fill_null(False))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Floats, NaN if null."""
    return column.to_numpy().astype(np.float64)


def _histogram(rewards: np.ndarray) -> np.ndarray:
    return np.histogram(rewards[np.isfinite(rewards)].clip(0, 1), BINS, (0.0, 1.0))[0]
