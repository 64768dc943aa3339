"""How sure a share of solved problems is: 95% intervals, made from the sums over its tables."""

from __future__ import annotations

import math

from tasks.report.sums import Sums
from tasks.resampling import interval, resampled_means

Z = 1.959964
"""Of a two-sided interval of 95%."""
Interval = tuple[float, float] | tuple[None, None]


def interval_of(sums: Sums, name: str = "") -> Interval:
    """The interval of the accuracy: Wilson's if each problem has one answer. Several answers to one problem, of samples
    or of seeds, depend on each other; then problems are resampled, with the benchmark's `name` as the seed, as in an
    evaluation."""
    problems = sums.problems()
    if len(problems) == sums.picked:
        return wilson(sums.solved, sums.picked)
    return interval(resampled_means(problems, name))


def wilson(right: int, of: int) -> Interval:
    """Wilson's 95% interval of a share."""
    if not of:
        return None, None
    p, s = right / of, Z * Z / of
    middle, half = p + s / 2, Z * math.sqrt(p * (1 - p) / of + s / (4 * of))
    return max(0.0, (middle - half) / (1 + s)), min(1.0, (middle + half) / (1 + s))
