"""Amounts as horizontal bars, made of parts."""

from __future__ import annotations

from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.report.drawing import GRID, INK, MUTED, Canvas
from tasks.report.texts import count, power, short, span

Part = tuple[str, float, str, float]
"""Name, value, colour, opacity."""


def stacked(label: str, rows: list[tuple[str, list[Part]]], unit: str) -> Canvas | None:
    """Horizontal bars. A row: its name, and its parts. `unit`: s, tokens or FLOPs."""
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
    axes.set_yticks(range(len(rows)), [short(name) for name, _ in rows])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.18)
    axes.grid(axis="x", color=GRID)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value, 0) if value else "0"))
    return canvas
