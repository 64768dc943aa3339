"""No reward model: how likely a writer found its own tokens stands for the reward (SpecGuard, arXiv 2604.15244,
without its look at attention).

Nothing is asked for it but the writer itself, so it is no `Format`: engines tell it with the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.decoding.models import Confidence


def confidence(kind: Confidence, logs: Sequence[float]) -> float:
    """The geometric mean of a step's tokens' probabilities, or the lowest of them, of their natural logarithms at
    temperature 1."""
    return math.exp(min(logs) if kind == "min" else sum(logs) / len(logs))
