"""The plots of a report. Each takes numbers and gives a Canvas, or None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from tasks.report.comparison import Row, frontier
from tasks.report.drawing import (
    BAD,
    DRAFT,
    GOOD,
    GRID,
    HEIGHT,
    INK,
    MUTED,
    NAMES,
    PAPER,
    SERIES,
    TARGET,
    Canvas,
)
from tasks.report.tally import BINS, INDICES, Tally
from tasks.report.texts import count, percent, power, span

MOST_LEVELS = 12
"""Levels in a plot."""
MOST_LINES = 6
LEAST_STEPS = 5
"""Steps that a share must stand for."""


def accuracy_against_flops(rows: Sequence[Row], cost: str, label: str, colours: dict[str, str]) -> Canvas | None:
    """`cost`: flops_generated or flops_computed, per problem. Thresholds of a method are joined, the frontier drawn."""
    shown = [row for row in rows if row.accuracy is not None and getattr(row, cost) > 0]
    if not shown:
        return None
    canvas = Canvas(label, HEIGHT * 1.1)
    axes = canvas.figure.add_subplot()
    at = [(float(getattr(row, cost)), float(row.accuracy or 0)) for row in shown]
    best = frontier(at)
    axes.step(*zip(*best, strict=True), where="post", color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    for method in {row.method: 0 for row in shown if row.threshold is not None}:
        of_method = [(row.threshold, place) for row, place in zip(shown, at, strict=True) if row.method == method]
        line = sorted((threshold, place) for threshold, place in of_method if threshold is not None)
        axes.plot(*zip(*(place for _, place in line), strict=True), color=colours[method], linewidth=1.4, zorder=2)
    for row, (x, y) in zip(shown, at, strict=True):
        colour = colours[row.method]
        if row.low is not None and row.high is not None:
            axes.plot([x, x], [row.low, row.high], color=colour, linewidth=1.2, alpha=0.45, zorder=2)
        size = 70 if (x, y) in best else 42
        mark = axes.scatter([x], [y], s=size, color=colour, edgecolor=PAPER, linewidth=1.2, zorder=4)
        interval = f" ({percent(row.low)} to {percent(row.high)})" if row.low is not None else ""
        canvas.tip(mark, f"{row.name}: {percent(y)}{interval}, {power(x)} FLOPs per problem")
    xs = [x for x, _ in at]
    if max(xs) > 8 * min(xs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if max(xs) < 100 * min(xs) else (1.0,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(min(xs) / 1.6, max(xs) * 2.6)
    else:
        reach = max(xs) - min(xs) or max(xs)
        axes.set_xlim(max(0, min(xs) - 0.12 * reach), max(xs) + 0.3 * reach)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value, 0 if max(xs) > 8 * min(xs) else 1)))
    axes.set_xlabel("FLOPs per problem")
    axes.margins(y=0.12)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, min(top, 1.0 + 0.04 * (top - bottom)))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top - bottom > 0.06 else 1))
    _name_points(canvas, axes, [_short(row) for row in shown], at, best)
    return canvas


def _short(row: Row) -> str:
    return f"δ {row.threshold:g}" if row.threshold is not None else row.method


def _name_points(
    canvas: Canvas, axes: Axes, names: list[str], at: list[tuple[float, float]], best: list[tuple[float, float]]
) -> None:
    """A name beside each point, where it covers the fewest other points and names."""
    canvas.figure.canvas.draw()
    places = [tuple(map(float, axes.transData.transform(point))) for point in at]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for number in sorted(range(len(at)), key=lambda n: -places[n][1]):
        (x, y), wide = places[number], 6.2 * len(names[number])
        right, left, middle = x + 9, x - 9 - wide, x - wide / 2
        beside = [(right, y), (left, y), (middle, y + 14), (middle, y - 14)]
        corners = [(place, y + up) for up in (12, -12, 24, -24, 36, -36) for place in (right, left)]
        if at[number] in best:
            beside.insert(0, beside.pop(2))  # the frontier leaves to the right
        boxes = [(a, b - 7, a + wide, b + 7) for a, b in beside + corners]
        box = min(boxes, key=lambda box: (sum(_overlap(box, other) for other in taken), boxes.index(box)))
        taken.append(box)
        offset = (box[0] - x, box[1] + 7 - y)
        axes.annotate(
            names[number],
            at[number],
            offset,
            textcoords="offset points",
            va="center",
            fontsize=11,
            color=MUTED,
            zorder=5,
        ).set_in_layout(False)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def target_share_by_step(groups: dict[str, Tally]) -> Canvas | None:
    """Of the kept steps with an index, those that the target wrote: bars for one method, lines for several."""
    shares = {
        name: [
            (n, float(row[1] / row.sum()), int(row.sum()))
            for n, row in enumerate(tally.steps)
            if row.sum() >= LEAST_STEPS
        ]
        for name, tally in _mixed(groups).items()
    }
    shares = {name: line for name, line in shares.items() if line}
    if not shares:
        return None
    canvas = Canvas("Share of steps written by the target, by step")
    axes = canvas.figure.add_subplot()
    for colour, (name, line) in zip(_scale(len(shares)), shares.items(), strict=True):
        tips = [
            f"step {n + 1}{' and later' if n == INDICES - 1 else ''}: {percent(share)} of {of:,} from the target"
            for n, share, of in line
        ]
        _bars_or_line(
            canvas, axes, [n + 1 for n, _, _ in line], [share for _, share, _ in line], tips, name, colour, len(shares)
        )
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
    _as_shares(axes)
    return canvas


def target_share_by_level(groups: dict[str, Tally]) -> Canvas | None:
    """The same by the problems' level; for a single method with the share of problems solved beside it."""
    mixed = {name: tally for name, tally in _mixed(groups).items() if tally.levels}
    if not mixed:
        return None
    names = _levels(mixed)
    canvas = Canvas("Share of steps written by the target, by difficulty level")
    axes = canvas.figure.add_subplot()
    places = list(range(len(names)))
    for colour, (name, tally) in zip(_scale(len(mixed)), mixed.items(), strict=True):
        rows = [tally.levels.get(level, np.zeros(4)) for level in names]
        shares = [float(row[1] / max(1, row[0] + row[1])) for row in rows]
        tips = [
            f"level {level}: {percent(share)} of {int(row[0] + row[1]):,} steps from the target"
            for level, share, row in zip(names, shares, rows, strict=True)
        ]
        _bars_or_line(canvas, axes, places, shares, tips, name, colour, len(mixed))
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


def _mixed(groups: dict[str, Tally]) -> dict[str, Tally]:
    """Methods in which both draft and target wrote, at most so many as lines can be told apart."""
    found = [(name, tally) for name, tally in groups.items() if tally.steps.sum(0).min() > 0]
    return dict(found[:: max(1, math.ceil(len(found) / MOST_LINES))])


def _levels(groups: dict[str, Tally]) -> list[str]:
    """The most frequent ones, in their own order: numbers by size."""
    weight: dict[str, int] = {}
    for tally in groups.values():
        for level, row in tally.levels.items():
            weight[level] = weight.get(level, 0) + int(row[0] + row[1])
    kept = sorted(weight, key=lambda level: -weight[level])[:MOST_LEVELS]

    def order(level: str) -> tuple[bool, float, str]:
        try:
            return False, float(level), level
        except ValueError:
            return True, 0.0, level

    return sorted(kept, key=order)


def _scale(lines: int) -> list[Any]:
    return [TARGET] if lines == 1 else [SERIES[n % len(SERIES)] for n in range(lines)]


def _bars_or_line(
    canvas: Canvas, axes: Axes, xs: list[int], ys: list[float], tips: list[str], name: str, colour: str, lines: int
) -> None:
    if lines > 1:
        canvas.key.append((NAMES[colour], name))
        axes.plot(xs, ys, color=colour, linewidth=1.8, zorder=3)
        for x, y, tip in zip(xs, ys, tips, strict=True):
            canvas.tip(axes.scatter([x], [y], s=22, color=colour, zorder=4), f"{name}, {tip}")
        return
    for bar, tip in zip(axes.bar(xs, ys, width=0.72, color=colour), tips, strict=True):
        canvas.tip(bar, tip)


def _as_shares(axes: Axes) -> None:
    axes.set_ylim(0, min(1.0, axes.get_ylim()[1] * 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def rewards(tally: Tally, threshold: float | None) -> Canvas | None:
    """Attempts by their reward: those that were kept, and those that were not."""
    canvas = _histogram(
        "Rewards of accepted and rejected steps", tally.rewards, ("rejected", "accepted"), (BAD, DRAFT), "steps"
    )
    if canvas and threshold is not None:
        axes = canvas.figure.axes[0]
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"δ {threshold:g} ", (threshold, 1), xycoords=("data", "axes fraction"), ha="right", va="top", fontsize=10
        )
    return canvas


def least_rewards(tally: Tally) -> Canvas | None:
    """Solutions by the least reward of their steps: right ones, and wrong ones."""
    return _histogram(
        "Least reward of right and wrong solutions", tally.least, ("wrong", "right"), (BAD, GOOD), "solutions"
    )


def _histogram(
    label: str, found: np.ndarray, names: tuple[str, str], colours: tuple[str, str], what: str
) -> Canvas | None:
    """Stacked counts. A root scale: most rewards are near 1, and the few others matter."""
    if not found.sum():
        return None
    canvas = Canvas(label)
    axes = canvas.figure.add_subplot()
    edges = np.linspace(0, 1, BINS + 1)
    floor = np.zeros(BINS)
    for name, colour, row in zip(names, colours, found, strict=True):
        there = np.flatnonzero(row)
        tall = axes.bar(edges[there], row[there], width=0.9 / BINS, bottom=floor[there], align="edge", color=colour)
        for n, bar in zip(there, tall, strict=True):
            canvas.tip(bar, f"{row[n]:,} {name} {what} with {edges[n]:.3g} to {edges[n + 1]:.3g}")
        floor = floor + row
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), lambda y: np.square(y)))
    top = float(floor.max())
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
        found.append(max(1.0, math.floor(share * top / size) * size))
    return sorted(set(found))


def stacked(label: str, rows: list[tuple[str, list[tuple[str, float, str, float]]]], unit: str) -> Canvas | None:
    """Horizontal bars. A row: its name, and parts of (name, value, colour, opacity). `unit`: s, tokens or FLOPs."""
    most = max((sum(part[1] for part in parts) for _, parts in rows), default=0)
    if not most:
        return None

    def told(value: float, places: int = 2) -> str:
        return span(value) if unit == "s" else power(value, places) if unit == "FLOPs" else count(value)

    canvas = Canvas(label, max(1.5, 0.75 + 0.42 * len(rows)))
    axes = canvas.figure.add_subplot()
    for place, (name, parts) in enumerate(rows):
        left = 0.0
        for part, value, colour, opacity in parts:
            if value > 0:
                bar = axes.barh([place], [value], 0.62, left, color=colour, alpha=opacity)[0]
                canvas.tip(bar, f"{name}: {told(value)}{'' if unit == 's' else ' ' + unit}, {part}")
                left += value
        axes.annotate(
            told(left), (left, place), (5, 0), textcoords="offset points", va="center", fontsize=11, color=MUTED
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.18)
    axes.grid(axis="x", color=GRID)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value, 0) if value else "0"))
    return canvas


def colours_of(rows: Sequence[Row]) -> dict[str, str]:
    """Method to its colour, the same in every picture."""
    fixed = {"draft": DRAFT, "target": TARGET, "rsd": SERIES[0]}
    others = iter(SERIES[1:] * (1 + len(rows) // len(SERIES)))
    found: dict[str, str] = {}
    for row in rows:
        if row.method not in found:
            found[row.method] = fixed.get(row.kind if row.method == row.kind else "", "") or next(others)
    return found
