"""What a threshold costs and brings: figures of its run, with 95% bootstrap intervals over problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.calibration.band import band
from tasks.output.sound_rewards import sound
from tasks.resampling import RESAMPLES, interval

AT_ONCE = 100
"""Resamples whose weights are in memory at a time."""

SUMS = (
    "problems",
    "with_reference",
    "correct",
    "steps",
    "target_steps",
    "flops",
    "draft_tokens",
    "target_tokens",
    "prm_tokens",
    "reward_sum",
    "scored",
)
"""What is summed up for each problem, over its samples."""
RATIOS = {
    "accuracy": ("correct", "with_reference"),
    "target_share": ("target_steps", "steps"),
    "flops": ("flops", "problems"),
    "draft_tokens": ("draft_tokens", "problems"),
    "target_tokens": ("target_tokens", "problems"),
    "prm_tokens": ("prm_tokens", "problems"),
    "reward": ("reward_sum", "scored"),
}
"""Figure to the sums of which it is the quotient: those over `problems` are per problem,
`reward` is the mean over all attempts that the PRM scored."""
WATCHED = ("target_share", "reward")
"""Figures that a run at the threshold is watched for: those of tasks/generation/drift.py."""


@dataclass(frozen=True)
class Seen:
    """What one threshold's run left."""

    sums: np.ndarray
    """float64 [problems, len(SUMS)], problems in the same order for every threshold."""
    rewards: np.ndarray
    """float32 [judged attempts]: the draft's that were held against the threshold, kept or not."""


def read(solutions: pa.Table, steps: pa.Table) -> Seen:
    """Sums and rewards of a run's tables; rewards that are none are in neither."""
    rows, of_steps = pl.from_arrow(solutions), pl.from_arrow(sound(steps)[0])
    assert isinstance(rows, pl.DataFrame)
    assert isinstance(of_steps, pl.DataFrame)
    reward = pl.col("reward").cast(pl.Float64)
    scored = of_steps.group_by("problem_id").agg(reward.sum().alias("reward_sum"), reward.count().alias("scored"))
    of_problems = (
        rows.group_by("problem_id")
        .agg(
            pl.lit(1.0).alias("problems"),
            pl.col("verdict").is_not_null().sum().alias("with_reference"),
            pl.col("correct").fill_null(False).sum().alias("correct"),
            *(pl.col(name).sum() for name in SUMS[3:-2]),
        )
        .join(scored, "problem_id", how="left")
        .with_columns(pl.col("reward_sum", "scored").fill_null(0))
        .sort("problem_id")
    )
    rewards = of_steps.filter(pl.col("threshold").is_not_null())["reward"].drop_nulls()
    return Seen(of_problems.select(SUMS).to_numpy().astype(float), rewards.to_numpy())


def figures(seen: Mapping[float, Seen]) -> list[dict[str, Any]]:
    """For each threshold, in order: its figures by name, with `NAME_low` and `NAME_high`, and in `bands` where a run at
    this threshold is to stay; None where a figure means nothing, as accuracy does without answers. The same problems
    are drawn for every threshold."""
    found = []
    for threshold, of_threshold in sorted(seen.items()):
        sums = of_threshold.sums
        resampled = _resampled(sums)
        row: dict[str, Any] = {"threshold": threshold}
        for name, (above, below) in RATIOS.items():
            i, j = SUMS.index(above), SUMS.index(below)
            values = resampled[:, i][resampled[:, j] > 0] / resampled[:, j][resampled[:, j] > 0]
            total = sums[:, j].sum()
            row[name] = float(sums[:, i].sum() / total) if total else None
            low, high = interval(values) if total else (None, None)
            row |= {f"{name}_low": low, f"{name}_high": high}
        row["bands"] = {name: band(*_columns(sums, name)) for name in WATCHED}
        found.append(row)
    return found


def behind(seen: Mapping[float, Seen], chosen: float) -> dict[str, float] | None:
    """How much less accurate a threshold is than the most accurate one, problem by problem: `threshold` and `accuracy`
    of the most accurate one; the difference `less` with its 95% interval, `less_low` and `less_high`, as shares. None
    if the difference is within chance."""
    found: dict[float, tuple[float, np.ndarray]] = {}
    for threshold, of_threshold in seen.items():
        right, graded = _columns(of_threshold.sums, "accuracy")
        if not graded.sum():
            return None
        # the same draws for each threshold, so that what makes a problem hard cancels out
        drawn = _resampled(np.column_stack([right, graded]))
        share = np.divide(drawn[:, 0], drawn[:, 1], out=np.zeros(len(drawn)), where=drawn[:, 1] > 0)
        found[threshold] = float(right.sum() / graded.sum()), share
    best = max(found, key=lambda threshold: found[threshold][0])
    low, high = interval(found[best][1] - found[chosen][1])
    if low is None or high is None or low <= 0:
        return None
    less = found[best][0] - found[chosen][0]
    return {"threshold": best, "accuracy": found[best][0], "less": less, "less_low": low, "less_high": high}


def _columns(sums: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The two sums, float64 [problems] each, of which a figure is the quotient."""
    above, below = RATIOS[name]
    return sums[:, SUMS.index(above)], sums[:, SUMS.index(below)]


def _resampled(sums: np.ndarray) -> np.ndarray:
    """Sums [RESAMPLES, as many columns] over as many problems drawn with replacement, the same draw every time."""
    draw, problems = np.random.default_rng(0), len(sums)
    parts = []
    for _ in range(RESAMPLES // AT_ONCE):
        parts.append(draw.multinomial(problems, np.full(problems, 1 / problems), AT_ONCE) @ sums)
    return np.concatenate(parts)
