"""Chooses a threshold, only among those that were tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from tasks.errors import UserError

Figures = list[dict[str, Any]]
"""As `figures.figures` gives them."""


@dataclass(frozen=True)
class Wish:
    """What the threshold is to meet."""

    kind: Literal["target_share", "flops", "tolerance"]
    """At most this share of steps from the target; at most so many FLOPs a problem; at most so far below the best
    accuracy."""
    value: float

    def __str__(self) -> str:
        if self.kind == "target_share":
            return f"at most {self.value:.1%} of the steps from the target"
        if self.kind == "flops":
            return f"at most {self.value:.3g} FLOPs a problem"
        points = f"{100 * self.value:g}"
        return f"the fewest FLOPs within {points} point{'' if points == '1' else 's'} of the best accuracy"


@dataclass(frozen=True)
class Recommendation:
    """The threshold that meets a wish, and why it was chosen."""

    threshold: float | None
    """None where no threshold meets the wish."""
    why: str


def choose(figures: Figures, wish: Wish) -> Recommendation:
    """The threshold that meets a wish. Of those within a share: the one with the largest share. Of those within a
    budget: the most accurate, or without answers the dearest. Of those that are accurate enough: the cheapest."""
    if wish.kind == "tolerance":
        figures = [row for row in figures if row["accuracy"] is not None]
        if not figures:
            raise UserError(
                "no problem's answer can be read, so no threshold's accuracy is known: give --target-share or "
                "--flops-per-problem"
            )
        best = max(figures, key=lambda row: (row["accuracy"], -row["flops"]))
        enough = [row for row in figures if row["accuracy"] >= best["accuracy"] - wish.value - 1e-9]
        found = min(enough, key=lambda row: (row["flops"], -row["accuracy"]))
        return Recommendation(found["threshold"], f"{wish} ({best['accuracy']:.1%}, at {best['threshold']:g})")
    within = [row for row in figures if row[wish.kind] is not None and row[wish.kind] <= wish.value]
    if not within:
        low = min((row for row in figures if row[wish.kind] is not None), key=lambda row: row[wish.kind], default=None)
        least = "no threshold gave any step" if low is None else f"the least is {_told(wish, low)}"
        return Recommendation(None, f"no threshold that was tried meets the wish, {wish}: {least}")
    if wish.kind == "flops" and all(row["accuracy"] is not None for row in within):
        found = max(within, key=lambda row: (row["accuracy"], -row["flops"]))
        return Recommendation(found["threshold"], f"the most accurate with {wish}")
    found = max(within, key=lambda row: (row[wish.kind], -row["flops"]))
    return Recommendation(found["threshold"], f"the largest that meets the wish, {wish}")


def _told(wish: Wish, row: dict[str, Any]) -> str:
    value = f"{row['target_share']:.1%}" if wish.kind == "target_share" else f"{row['flops']:.3g}"
    if row["threshold"] == 0:
        return f"{value} at 0, below which there is no threshold"
    return f"{value} at {row['threshold']:g}; try lower thresholds, such as --thresholds 0,{row['threshold'] / 2:.3g}"


def read_wish(target_share: float | None, flops_per_problem: float | None, tolerance: float | None) -> Wish:
    """The wish of a user: the default, or one of three. Raises UserError for more than one, or a value out of range."""
    given = {
        "--target-share": target_share,
        "--flops-per-problem": flops_per_problem,
        "--tolerance": tolerance,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)}: give one of them")
    if not asked:
        return Wish("tolerance", 0.01)
    (name, value), *_ = asked.items()
    if name == "--flops-per-problem":
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{name}: a number of FLOPs above 0, such as 1e12")
        return Wish("flops", value)
    if not 0 <= value <= 1:
        raise UserError(f"{name}: a share between 0 and 1, such as {'0.3' if target_share is not None else '0.01'}")
    return Wish("target_share" if target_share is not None else "tolerance", value)
