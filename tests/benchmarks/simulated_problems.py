"""Problems of a simulated run: how many steps each takes, how long they are, which of the draft's are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Distributions of a workload."""

    prompt: float = 150.0
    """Tokens of a prompt, system message included; the same for all."""
    steps: float = 14.0
    """Mean of the steps of a solution: gamma with `steps_spread` of it as standard deviation, at least 1."""
    steps_spread: float = 0.35
    tokens: float = 40.0
    """Mean of the tokens of a step: gamma as well, at least 2."""
    tokens_spread: float = 0.6
    kept: float = 0.8
    """Mean share of the draft's steps that are kept. A problem's own share is drawn from a beta distribution of
    `kept_weight` pseudo-counts: hard problems have many steps rejected, easy ones none."""
    kept_weight: float = 4.0


@dataclass(frozen=True)
class Problems:
    """Drawn problems. Arrays [problem, step] hold zeros past a solution's end."""

    prompt: float
    steps: np.ndarray
    """int [problem]: steps of each solution."""
    draft: np.ndarray
    """int [problem, step]: tokens of the draft's attempt."""
    target: np.ndarray
    """int [problem, step]: tokens of the target's, had it to write one."""
    kept: np.ndarray
    """bool [problem, step]: is the draft's attempt kept?"""

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def chosen(self) -> np.ndarray:
        """int [problem, step]: tokens of the step that the solution keeps."""
        return np.where(self.kept, self.draft, self.target)

    @cached_property
    def context(self) -> np.ndarray:
        """[step]: mean over all problems of the tokens of context in the middle of a step; those ended count as 0."""
        middle = self.prompt + np.cumsum(self.chosen, axis=1) - self.chosen / 2
        return (middle * (self.chosen > 0)).mean(axis=0)

    @property
    def mean_context(self) -> float:
        """Tokens of context that a trajectory has on average over its waves, the prompt included."""
        return float(self.context.sum() / self.steps.mean())

    def held(self, size: int, in_flight: int) -> float:
        """Tokens of context of the live trajectories of `in_flight` cohorts of `size`: at most for a single one, on
        average for several, which are at different waves."""
        each = self.context.max() if in_flight == 1 else self.context.sum() / self.steps[:size].max()
        return float(size * in_flight * each)


def draw(count: int, shape: Shape, seed: int) -> Problems:
    """`count` problems; the same for the same seed."""
    rng = np.random.default_rng(seed)

    def gamma(mean: float, spread: float, size: tuple[int, ...], least: int) -> np.ndarray:
        k = 1 / spread**2
        return np.maximum(least, np.rint(rng.gamma(k, mean / k, size))).astype(np.int64)

    steps = gamma(shape.steps, shape.steps_spread, (count,), 1)
    size = (count, int(steps.max()))
    real = np.arange(size[1]) < steps[:, None]
    share = rng.beta(shape.kept * shape.kept_weight, (1 - shape.kept) * shape.kept_weight, count)
    kept = rng.random(size) < share[:, None]
    draft, target = (gamma(shape.tokens, shape.tokens_spread, size, 2) * real for _ in range(2))
    return Problems(shape.prompt, steps, draft, target, kept & real)
