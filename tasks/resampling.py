"""Confidence intervals of a mean over problems: percentile bootstrap, with problems drawn with replacement."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
AT_ONCE = 1 << 22
"""Draws held in memory."""


def resampled_means(scores: np.ndarray, name: str) -> np.ndarray:
    """Means of resampled scores, float64 [RESAMPLES]. `scores`: float64 [problems], at least one.

    `name` seeds the draws: scores of equally many problems under one name are drawn alike, so that a paired difference
    is that of the same problems.
    """
    draw = np.random.default_rng(int.from_bytes(blake2b(name.encode(), digest_size=8).digest()))
    rows = max(AT_ONCE // len(scores), 1)
    parts = [
        scores[draw.integers(0, len(scores), (min(rows, RESAMPLES - start), len(scores)))].mean(axis=1)
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(parts)


def interval(means: np.ndarray) -> tuple[float, float]:
    """Bounds between which LEVEL of the resampled means lie."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
