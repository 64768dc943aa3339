"""Accuracy against FLOPs: every method and threshold, and the frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from tasks.report.drawing import HEIGHT, INK, MUTED, PAPER, Canvas
from tasks.report.row import Row, frontier
from tasks.report.texts import percent, power, short

Point = tuple[float, float]
OF_A_LINE = 12.0
"""The cost of a name that covers three units of a line, in square units of another name that it would cover."""
DISTANCE = 5.0
"""What each unit further from the point costs."""


def accuracy_against_flops(rows: Sequence[Row], cost: str, label: str, colours: dict[str, str]) -> Canvas | None:
    """`cost`: flops_generated or flops_computed, per problem. Thresholds of a method are joined, the frontier drawn."""
    shown = [row for row in rows if row.accuracy is not None and getattr(row, cost)]
    if not shown:
        return None
    canvas = Canvas(label, HEIGHT * 1.1)
    axes = canvas.figure.add_subplot()
    at = [(float(getattr(row, cost)), float(row.accuracy or 0)) for row in shown]
    best = frontier(at)
    axes.step(*zip(*best, strict=True), where="post", color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    joined: list[list[Point]] = []
    for method in {row.method: 0 for row in shown if row.threshold is not None}:
        of_method = [(row.threshold, place) for row, place in zip(shown, at, strict=True) if row.method == method]
        line = [place for _, place in sorted((t, place) for t, place in of_method if t is not None)]
        joined.append(line)
        axes.plot(*zip(*line, strict=True), color=colours[method], linewidth=1.4, zorder=2)
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
    strokes = [[(x, row.low), (x, row.high)] for row, (x, _) in zip(shown, at, strict=True) if row.low and row.high]
    strokes += [[one, (two[0], one[1]), two] for one, two in pairwise(best)]
    strokes += [[one, two] for line in joined for one, two in pairwise(line)]
    _name_points(canvas, axes, _names(shown), at, strokes)
    return canvas


def _names(rows: Sequence[Row]) -> list[str]:
    """δ alone where a line joins a method's thresholds."""
    joined = [row.method for row in rows if row.threshold is not None]
    return [
        f"δ {row.threshold:g}" if row.threshold is not None and joined.count(row.method) > 1 else short(row.name)
        for row in rows
    ]


def _name_points(canvas: Canvas, axes: Axes, names: list[str], at: list[Point], strokes: list[list[Point]]) -> None:
    """A name beside each point, where it covers the least of other points and names, and of the lines drawn."""
    canvas.figure.canvas.draw()
    places = [tuple(map(float, axes.transData.transform(point))) for point in at]
    edge = canvas.figure.bbox.width
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    drawn = [_along([tuple(p) for p in axes.transData.transform(stroke).tolist()]) for stroke in strokes]
    dots = [dot for line in drawn for dot in line]
    for number in sorted(range(len(at)), key=lambda n: -places[n][1]):
        (x, y), wide = places[number], 6.2 * len(names[number])
        right, left, middle = x + 9, x - 9 - wide, x - wide / 2
        beside = [(right, y), (left, y), (middle, y + 14), (middle, y - 14)]
        corners = [(place, y + up) for up in (12, -12, -24, 24, -36, 36) for place in (right, left)]
        boxes = [(a, b - 7, a + wide, b + 7) for a, b in beside + corners]
        covers = [
            sum(_overlap(box, other) for other in taken)
            + OF_A_LINE * sum(box[0] < a < box[2] and box[1] < b < box[3] for a, b in dots)
            + 20 * (max(0.0, box[2] - edge) + max(0.0, 40 - box[0]) + max(0.0, 34 - box[1]))
            + DISTANCE * _apart(box, x, y)
            for box in boxes
        ]
        box = boxes[covers.index(min(covers))]
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


def _along(corners: list[tuple[float, ...]]) -> list[Point]:
    """Points every few units of a line."""
    found: list[Point] = []
    for (a, b), (c, d) in pairwise(corners):
        steps = 1 + int(max(abs(c - a), abs(d - b)) / 3)
        found += [(a + (c - a) * n / steps, b + (d - b) * n / steps) for n in range(steps + 1)]
    return found


def _apart(box: tuple[float, ...], x: float, y: float) -> float:
    """From a point to the nearest one of a box."""
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
