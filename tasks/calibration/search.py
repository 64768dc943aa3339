"""Which threshold to try next where a share or a budget is wished: a bisection over the rewards that were seen."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

CLOSE = 0.05
"""Part of the wish that may be left unused when the search ends."""


def next_threshold(measured: Mapping[float, float], rewards: np.ndarray, most: float) -> float | None:
    """`measured`: threshold to its share or cost, which grows with the threshold. `rewards` of the draft's steps that
    were seen. None where the threshold that comes closest to `most` from below is close enough, or nothing that was
    seen lies between it and the next."""
    within = [d for d, value in measured.items() if value <= most]
    below = max(within, key=lambda d: measured[d], default=None)
    if below is not None and measured[below] >= (1 - CLOSE) * most:
        return None
    floor = below if below is not None else 0.0
    ceiling = min((d for d, value in measured.items() if value > most), default=math.inf)
    between = np.sort(rewards[(rewards > floor) & (rewards < ceiling)])
    if not len(between):
        return None
    middle = round(float(between[len(between) // 2]), 4)
    return middle if floor < middle < min(ceiling, 1.0) and middle not in measured else None
