"""Acceptance rules: the probability with which a draft's step of a given reward is kept.

Table 1 of the RSD paper (arXiv 2501.19324), the weights ω(r). To add one, write a function and a line in RULES, and in
schemas/acceptance.py a `Rule` with its parameters, which AcceptConfig names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from schemas.config import AcceptConfig, Clip, Constant, Logistic, Sigmoidal, Threshold


def constant(reward: float, rule: Constant) -> float:
    """p, whatever the reward."""
    return rule.probability


def threshold(reward: float, rule: Threshold) -> float:
    """1(r >= δ), compared in float32, the precision in which rewards are kept."""
    assert rule.threshold != "auto", "the run has not found its threshold"
    return float(np.float32(reward) >= np.float32(rule.threshold))


def clip(reward: float, rule: Clip) -> float:
    """min(1, max(0, r))."""
    return min(1.0, max(0.0, reward))


def sigmoidal(reward: float, rule: Sigmoidal) -> float:
    """max(0, r / (1 + r)): at most one half for rewards in [0, 1]."""
    return max(0.0, reward / (1.0 + reward)) if reward > -1.0 else 0.0


def logistic(reward: float, rule: Logistic) -> float:
    """1 / (1 + exp(-α (r - δ)))."""
    x = rule.alpha * (reward - rule.threshold)
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


RULES: dict[type, Callable[[float, Any], float]] = {
    Constant: constant,
    Threshold: threshold,
    Clip: clip,
    Sigmoidal: sigmoidal,
    Logistic: logistic,
}


def probability(reward: float, rule: AcceptConfig) -> float:
    """Probability in [0, 1] that `rule` keeps a step of this reward."""
    return RULES[type(rule)](reward, rule)
