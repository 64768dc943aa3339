"""What a threshold costs and brings: figures of its run, with 95% bootstrap intervals over problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.bootstrap import RESAMPLES, interval

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
)
"""What is summed up for each problem, over its samples."""
RATIOS = {
    "accuracy": ("correct", "with_reference"),
    "target_share": ("target_steps", "steps"),
    "flops": ("flops", "problems"),
    "draft_tokens": ("draft_tokens", "problems"),
    "target_tokens": ("target_tokens", "problems"),
    "prm_tokens": ("prm_tokens", "problems"),
}
"""Figure to the sums of which it is the quotient: the last four are per problem."""


@dataclass(frozen=True)
class Seen:
    """What one threshold's run left."""

    sums: np.ndarray
    """float64 [problems, len(SUMS)], problems in the same order for every threshold."""
    rewards: np.ndarray
    """float32 [judged attempts]: the draft's that were held against the threshold, kept or not."""


def read(solutions: pa.Table, steps: pa.Table) -> Seen:
    """Sums and rewards of a run's tables."""
    rows = pl.from_arrow(solutions)
    assert isinstance(rows, pl.DataFrame)
    of_problems = (
        rows.group_by("problem_id")
        .agg(
            pl.lit(1.0).alias("problems"),
            pl.col("verdict").is_not_null().sum().alias("with_reference"),
            pl.col("correct").fill_null(False).sum().alias("correct"),
            *(pl.col(name).sum() for name in SUMS[3:]),
        )
        .sort("problem_id")
    )
    of_steps = pl.from_arrow(steps)
    assert isinstance(of_steps, pl.DataFrame)
    rewards = of_steps.filter(pl.col("threshold").is_not_null())["reward"]
    return Seen(of_problems.select(SUMS).to_numpy().astype(float), rewards.to_numpy())


def figures(seen: Mapping[float, Seen]) -> list[dict[str, Any]]:
    """For each threshold, in order: its figures by name, with `NAME_low` and `NAME_high`; None where a figure means
    nothing, as accuracy does without answers. The same problems are drawn for every threshold."""
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
        found.append(row)
    return found


def _resampled(sums: np.ndarray) -> np.ndarray:
    """Sums [RESAMPLES, len(SUMS)] over as many problems drawn with replacement, the same draw every time."""
    draw, problems = np.random.default_rng(0), len(sums)
    parts = []
    for _ in range(RESAMPLES // AT_ONCE):
        parts.append(draw.multinomial(problems, np.full(problems, 1 / problems), AT_ONCE) @ sums)
    return np.concatenate(parts)
