"""Which figures are rewards: numbers from 0 to 1. Every figure that a model gives, and every stored one, passes here
before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tasks.errors import UserError, on_one_line

ROUNDING = 1e-4
"""How far outside [0, 1] a figure may be by rounding: sums of probabilities in float32 are off by about 1e-7."""
ENOUGH = 16
"""Number of problems on which a model must have given only invalid figures before its run ends."""


def reward_of(figure: float) -> float | None:
    """The reward of a figure: from 0 to 1, in the precision of float32; None if the figure is NaN, infinite or out of
    range."""
    if -ROUNDING <= figure <= 1 + ROUNDING:  # of NaN nothing is true
        return min(max(float(np.float32(figure)), 0.0), 1.0)
    return None


class Trial:
    """Watches whether a model gives valid rewards at all. An invalid figure fails its row. A model that gives nothing
    else would fail all rows one by one, so the run is ended."""

    def __init__(self) -> None:
        self.passed = False
        """Has it given a reward?"""
        self.without: set[str] = set()
        """Problems on which it gave an invalid figure before it had given any reward."""

    def note(self, rewards: Iterable[float | None]) -> None:
        """Record the results of `reward_of` for a batch, before its failures are reported."""
        self.passed = self.passed or any(reward is not None for reward in rewards)

    def failed(self, field: str, model: str, problem_id: str, figure: float) -> str:
        """The message for a figure that is no reward. `field`: where the configuration names the model. Raises
        UserError if the run should end."""
        if not self.passed:
            self.without.add(problem_id)  # one problem proves little, however often the model is shown it
            if len(self.without) >= ENOUGH:
                raise UserError(
                    f"{field}: {model} gives no rewards: on each of the first {ENOUGH} problems it gave a figure such "
                    f"as {figure:g} where a number from 0 to 1 is needed; is the checkpoint whole, and does the "
                    "engine's dtype hold what it computes?"
                )
        return on_one_line(f"{model} gave {figure:g}, which is no reward (a number from 0 to 1)")
