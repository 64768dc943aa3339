"""Which figures of models are rewards: numbers from 0 to 1. All that a model gives passes here before anything is
decided by it, and so does what was kept of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tasks.errors import UserError, on_one_line

ROUNDING = 1e-4
"""How far outside [0, 1] a figure counts as rounded: sums of probabilities in float32 are off by some 1e-7."""
ENOUGH = 16
"""Problems on which a model must have given nothing but figures that are none, for its run to end."""


def reward_of(figure: float) -> float | None:
    """The reward in [0, 1], in float32's precision, that a figure stands for; None where it is NaN, infinite or out of
    range."""
    if -ROUNDING <= figure <= 1 + ROUNDING:  # of NaN nothing is true
        return min(max(float(np.float32(figure)), 0.0), 1.0)
    return None


class Trial:
    """Does a model give rewards at all? A figure that is none costs its row. One that gives nothing else would cost all
    rows of a run, one by one: that ends the run."""

    def __init__(self) -> None:
        self.passed = False
        """Has it given a reward?"""
        self.without: set[str] = set()
        """Problems on which it gave another figure before it had given any reward."""

    def note(self, rewards: Iterable[float | None]) -> None:
        """Take note of what `reward_of` makes of a batch; its failures are told afterwards."""
        self.passed = self.passed or any(reward is not None for reward in rewards)

    def failed(self, field: str, model: str, problem_id: str, figure: float) -> str:
        """What to tell of a figure that is no reward. `field`: where the configuration names the model. Raises
        UserError where it is time to end the run."""
        if not self.passed:
            self.without.add(problem_id)  # one problem proves little, however often the model is shown it
            if len(self.without) >= ENOUGH:
                raise UserError(
                    f"{field}: {model} gives no rewards: on each of the first {ENOUGH} problems it gave a figure such "
                    f"as {figure:g} where a number from 0 to 1 is needed; is the checkpoint whole, and does the "
                    "engine's dtype hold what it computes?"
                )
        return on_one_line(f"{model} gave {figure:g}, which is no reward (a number from 0 to 1)")
