"""The target's share of the steps, by step and by level: bars for one method, lines for several."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tasks.report.drawing import GOOD, NAMES, PAPER, TARGET, Canvas, Mark
from tasks.report.plots.looks import Look
from tasks.report.sums import INDICES, Sums
from tasks.report.texts import percent

MOST_LEVELS = 12
"""Levels in a plot."""
MOST_LINES = 6
LEAST_STEPS = 5
"""Steps that a share must stand for."""


def target_share_by_step(groups: dict[str, Sums], looks: Mapping[str, Look]) -> Canvas | None:
    """Of the kept steps with an index, those that the target wrote: bars for one method, lines for several."""
    shares = {
        name: [
            (n, float(row[1] / row.sum()), int(row.sum()))
            for n, row in enumerate(sums.steps)
            if row.sum() >= LEAST_STEPS
        ]
        for name, sums in _mixed(groups).items()
    }
    shares = {name: line for name, line in shares.items() if line}
    if not shares:
        return None
    canvas = Canvas("Share of steps written by the target, by step")
    axes = canvas.figure.add_subplot()
    for name, line in shares.items():
        tips = [
            f"step {n + 1}{' and later' if n == INDICES - 1 else ''}: {percent(share)} of {of:,} from the target"
            for n, share, of in line
        ]
        _bars_or_line(
            canvas, axes, [n + 1 for n, _, _ in line], [s for _, s, _ in line], tips, name, looks.get(name), len(shares)
        )
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
    _as_shares(axes)
    return canvas


def target_share_by_level(groups: dict[str, Sums], looks: Mapping[str, Look]) -> Canvas | None:
    """The same by the problems' level; for a single method with the share of problems solved beside it."""
    mixed = {name: sums for name, sums in _mixed(groups).items() if sums.levels}
    if not mixed:
        return None
    names = _levels(mixed)
    canvas = Canvas("Share of steps written by the target, by difficulty level")
    axes = canvas.figure.add_subplot()
    places = list(range(len(names)))
    for name, sums in mixed.items():
        rows = [sums.levels.get(level, np.zeros(4)) for level in names]
        shares = [float(row[1] / max(1, row[0] + row[1])) for row in rows]
        tips = [
            f"level {level}: {percent(share)} of {int(row[0] + row[1]):,} steps from the target"
            for level, share, row in zip(names, shares, rows, strict=True)
        ]
        _bars_or_line(canvas, axes, places, shares, tips, name, looks.get(name), len(mixed))
        if len(mixed) == 1:
            solved = [float(row[3] / row[2]) if row[2] else math.nan for row in rows]
            for place, share, level in zip(places, solved, names, strict=True):
                mark = axes.scatter(
                    [place], [share], s=46, color=GOOD, edgecolor=PAPER, linewidth=1, zorder=4, clip_on=False
                )
                canvas.tip(mark, f"level {level}: {percent(share)} solved")
    axes.set_xticks(places, [level if len(names) < 8 else level[:6] for level in names])
    axes.set_xlabel("level")
    _as_shares(axes)
    return canvas


def _mixed(groups: dict[str, Sums]) -> dict[str, Sums]:
    """Methods in which both draft and target wrote, at most so many as lines can be told apart."""
    found = [(name, sums) for name, sums in groups.items() if sums.steps.sum(0).min() > 0]
    return dict(found[:: max(1, math.ceil(len(found) / MOST_LINES))])


def _levels(groups: dict[str, Sums]) -> list[str]:
    """The most frequent ones, in their own order: numbers by size."""
    weight: dict[str, int] = {}
    for sums in groups.values():
        for level, row in sums.levels.items():
            weight[level] = weight.get(level, 0) + int(row[0] + row[1])
    kept = sorted(weight, key=lambda level: -weight[level])[:MOST_LEVELS]

    def order(level: str) -> tuple[bool, float, str]:
        try:
            return False, float(level), level
        except ValueError:
            return True, 0.0, level

    return sorted(kept, key=order)


def _bars_or_line(
    canvas: Canvas,
    axes: Axes,
    xs: list[int],
    ys: list[float],
    tips: list[str],
    name: str,
    look: Look | None,
    lines: int,
) -> None:
    look = look or Look(TARGET)
    if lines > 1:
        canvas.key.append(Mark(NAMES[look.colour], name, look.opacity, look.dash))
        dashes = (0, look.dash) if look.dash else "solid"
        axes.plot(xs, ys, color=look.colour, alpha=look.opacity, linestyle=dashes, linewidth=1.8, zorder=3)
        for x, y, tip in zip(xs, ys, tips, strict=True):
            mark = axes.scatter([x], [y], s=22, color=look.colour, alpha=look.opacity, zorder=4)
            canvas.tip(mark, f"{name}, {tip}")
        return
    for bar, tip in zip(axes.bar(xs, ys, width=0.72, color=look.colour), tips, strict=True):
        canvas.tip(bar, tip)


def _as_shares(axes: Axes) -> None:
    axes.set_ylim(0, min(1.0, axes.get_ylim()[1] * 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(5))
