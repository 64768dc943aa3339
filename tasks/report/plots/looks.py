"""How methods are told apart: a method has one colour in every picture, its thresholds dashes and shades of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.report.drawing import DRAFT, SERIES, TARGET
from tasks.report.row import Row

DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.6), (1, 1.4), (5, 1.4, 1, 1.4), (2.6, 1.2), (9, 1.8))
"""Lengths of stroke and gap, in widths of the line."""
PALEST = 0.5


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    opacity: float = 1.0
    dash: tuple[float, ...] = ()


def colours_of(rows: Sequence[Row]) -> dict[str, str]:
    """Method to its colour, the same in every picture; the one that is like the draft's comes last. Under their own
    names, draft and target have those of their roles, and the first method that rewrites steps has the first colour."""
    fixed = {"draft": DRAFT, "target": TARGET}
    if rewriting := next((row.kind for row in rows if row.record.rewrites and row.method == row.kind), None):
        fixed[rewriting] = SERIES[0]
    others = iter((*SERIES[1:6], *SERIES[7:], SERIES[6]) * (1 + len(rows) // len(SERIES)))
    found: dict[str, str] = {}
    for row in rows:
        if row.method not in found:
            found[row.method] = fixed.get(row.kind if row.method == row.kind else "", "") or next(others)
    return found


def looks_of(lines: Mapping[str, str], colours: Mapping[str, str]) -> dict[str, Look]:
    """Line to its look. `lines`: each line's method, its thresholds from low to high."""
    found: dict[str, Look] = {}
    for method in dict.fromkeys(lines.values()):
        own = [name for name, of in lines.items() if of == method]
        for n, name in enumerate(own):
            opacity = PALEST + (1 - PALEST) * (n + 1) / len(own)
            found[name] = Look(colours[method], opacity, DASHES[n % len(DASHES)])
    return found
