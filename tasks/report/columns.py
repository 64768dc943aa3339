"""The table of methods: what its columns are called, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.report.row import Row
from tasks.report.texts import count, percent, points, power


class Entry(NamedTuple):
    value: float | str | None
    """What rows are sorted by; None stands last."""
    shown: str


def _plain(name: str, show: Callable[[float], str]) -> Callable[[Row], Entry]:
    def entry(row: Row) -> Entry:
        value = getattr(row, name)
        return Entry(value, "–" if value is None else show(value))

    return entry


def _range(low: str, high: str, show: Callable[[float], str]) -> Callable[[Row], Entry]:
    def entry(row: Row) -> Entry:
        ends = getattr(row, low), getattr(row, high)
        return Entry(ends[0], "–" if None in ends else f"{show(ends[0])} to {show(ends[1])}")

    return entry


def _short(value: float) -> str:
    return f"{value:.3g}"


COLUMNS: dict[str, Callable[[Row], Entry]] = {
    "PRM": lambda row: Entry(row.prm, row.prm or "–"),
    "Accuracy": _plain("accuracy", percent),
    "95% interval": _range("low", "high", percent),
    "Against target": _plain("difference", points),
    "95% interval of that": _range("difference_low", "difference_high", points),
    "Against models.prm": _plain("prm_difference", points),
    "95% interval against it": _range("prm_difference_low", "prm_difference_high", points),
    "FLOPs generated": _plain("flops_generated", power),
    "95% interval of FLOPs": _range("flops_low", "flops_high", power),
    "FLOPs, everything": _plain("flops_computed", power),
    "Draft tokens": _plain("draft_tokens", count),
    "Target tokens": _plain("target_tokens", count),
    "PRM tokens": _plain("prm_tokens", count),
    "Target steps": _plain("target_share", percent),
    "95% interval of target steps": _range("target_share_low", "target_share_high", percent),
    "Seconds": _plain("seconds", _short),
    "Problems/s": _plain("per_second", _short),
    "Problems": _plain("problems", count),
}


def columns(rows: list[Row]) -> dict[str, list[Entry]]:
    """Those in which any row has something."""
    found = {name: [entry(row) for row in rows] for name, entry in COLUMNS.items()}
    return {name: entries for name, entries in found.items() if any(entry.value is not None for entry in entries)}
