"""How rewards are spread: of steps, and the least one of each solution."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.ticker import FuncFormatter

from tasks.report.drawing import BAD, DRAFT, GOOD, INK, Canvas
from tasks.report.sums import BINS, Sums
from tasks.report.texts import count


def rewards(sums: Sums, threshold: float | None) -> Canvas | None:
    """Attempts by their reward: those that were kept, and those that were not."""
    canvas = _histogram(
        "Rewards of accepted and rejected steps", sums.rewards, ("rejected", "accepted"), (BAD, DRAFT), "steps"
    )
    if canvas and threshold is not None:
        axes = canvas.figure.axes[0]
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"δ {threshold:g} ", (threshold, 1), xycoords=("data", "axes fraction"), ha="right", va="top", fontsize=10
        )
    return canvas


def least_rewards(sums: Sums) -> Canvas | None:
    """Solutions by the least reward of their kept steps that were scored: right ones, and wrong ones."""
    return _histogram(
        "Least reward of right and wrong solutions", sums.least, ("wrong", "right"), (BAD, GOOD), "solutions"
    )


def _histogram(
    label: str, found: np.ndarray, names: tuple[str, str], colours: tuple[str, str], what: str
) -> Canvas | None:
    """Two kinds of counts as bars side by side. The scale is a root scale, which shows the few beside the many near 1;
    on it heights of stacked bars would not add up."""
    if not found.sum():
        return None
    canvas = Canvas(label)
    axes = canvas.figure.add_subplot()
    edges = np.linspace(0, 1, BINS + 1)
    wide = 0.45 / BINS
    for side, (name, colour, row) in enumerate(zip(names, colours, found, strict=True)):
        there = np.flatnonzero(row)
        left = edges[there] + 0.05 / BINS + side * wide
        for n, bar in zip(there, axes.bar(left, row[there], width=wide, align="edge", color=colour), strict=True):
            canvas.tip(bar, f"{row[n]:,} {name} {what} with {edges[n]:.3g} to {edges[n + 1]:.3g}")
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), lambda y: np.square(y)))
    top = float(found.max())
    axes.set_yticks(_round_ticks(top))
    axes.set_ylim(0, top * 1.08)
    axes.set_xlim(0, 1)
    axes.set_xlabel("reward")
    axes.set_ylabel(f"{what} (root scale)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    return canvas


def _round_ticks(top: float) -> list[float]:
    """0 and up to five round numbers, evenly apart on a root scale."""
    found = [0.0]
    for share in (0.04, 0.16, 0.36, 0.64, 1.0):
        size = 10.0 ** math.floor(math.log10(max(1.0, share * top)))
        tick = max(1.0, math.floor(share * top / size) * size)
        if math.sqrt(tick) - math.sqrt(found[-1]) > 0.1 * math.sqrt(top):
            found.append(tick)
    return found
