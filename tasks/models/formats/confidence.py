"""No reward model: how likely a writer found its own tokens stands for the reward (SpecGuard, arXiv 2604.15244,
without its look at attention).

Nothing is asked for it but the writer itself, so it is no `Format`: engines tell it with the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.decoding.requests import Confidence
from tasks.decoding.rewards import ROUNDING

LEAST = -9999.0
"""What vLLM's servers give for the logarithm of 0, and for NaN."""


def confidence(kind: Confidence, logs: Sequence[float]) -> float:
    """The geometric mean of a step's tokens' probabilities, or the lowest of them, of their natural logarithms at
    temperature 1. Where one is not the logarithm of what a model can have written, a figure outside [0, 1]."""
    for log in logs:
        if not LEAST < log <= ROUNDING:  # nor is NaN
            return math.exp(log) if 0 < log < 2 else log
    return min(1.0, math.exp(min(logs) if kind == "min" else sum(logs) / len(logs)))
