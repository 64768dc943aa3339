"""How many trajectories may be in flight together: those that are expected to fit the caches until they end.

A cache that overflows costs time, never results: engines then compute again what they had to drop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 512
"""Lengths that are told apart."""


class Lengths:
    """How long solutions become, learnt from those that ended and those that are still being written.

    Short ones end first, so a mean of those that ended would promise too little. This is the Kaplan-Meier estimate:
    at every length, the share that ended there of those that came so far. Lengths that nobody has passed and ended
    beyond count as the longest that is possible.
    """

    def __init__(self, longest: int) -> None:
        """`longest`: tokens that a solution has at most."""
        self.longest = longest
        self.grain = -(-longest // BINS)
        """Tokens that lengths are rounded up to."""
        self.ends = np.zeros(self._bin(longest) + 1, np.int64)
        """Solutions that ended, by length in grains."""

    def _bin(self, length: int) -> int:
        return -(-min(length, self.longest) // self.grain)

    def end(self, length: int) -> None:
        """Learn from a solution that has ended."""
        self.ends[self._bin(length)] += 1

    def expected(self, written: Sequence[int]) -> tuple[float, np.ndarray]:
        """Expected final length in tokens of a solution that has not begun, and float64 [n] of those that are being
        written: at least their length now, at most the longest."""
        at = np.array([self._bin(length) for length in written], np.int64)
        last = len(self.ends) - 1
        came = np.cumsum((self.ends + np.bincount(at, minlength=last + 1))[::-1])[::-1]  # so many reached each length
        stay = 1 - self.ends / np.maximum(came, 1)
        final = np.full(last + 1, float(last))  # of a solution that has come to each length and goes on
        for k in range(last - 1, -1, -1):
            final[k] = (1 - stay[k + 1]) * (k + 1) + stay[k + 1] * final[k + 1]
        tokens = np.minimum(final * self.grain, self.longest)
        return float(tokens[0]), np.maximum(tokens[at], np.minimum(written, self.longest))


class Admission:
    """Estimates what trajectories need of the caches."""

    def __init__(self, room: int, longest: int) -> None:
        """`room`: tokens that the smallest cache holds; `longest`: most tokens of a solution."""
        self.room, self.lengths = room, Lengths(longest)
        self.expected = float(longest)
        """Tokens that a solution which has not begun is expected to have, as of the last estimate."""

    def estimate(self, written: Sequence[int]) -> Sequence[float]:
        """Tokens that solutions are expected to have when they end, of those that have so many now."""
        self.expected, finals = self.lengths.expected(written)
        return [float(final) for final in finals]
