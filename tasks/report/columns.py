"""The table of methods: what its columns are called, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.report.row import Row
from tasks.report.texts import count, percent, points, power


class Entry(NamedTuple):
    """A cell of the methods' table."""

    value: float | str | None
    """What rows are sorted by; None stands last."""
    shown: str
    interval: str = ""
    """Of 95%, where there is one."""


def _plain(name: str, show: Callable[[float], str], low: str = "", high: str = "") -> Callable[[Row], Entry]:
    """`low`, `high`: the fields that hold the ends of its interval."""

    def entry(row: Row) -> Entry:
        value = getattr(row, name)
        ends = [getattr(row, end) for end in (low, high) if end]
        interval = " to ".join(show(end) for end in ends) if ends and None not in ends else ""
        return Entry(value, "–" if value is None else show(value), interval)

    return entry


def _short(value: float) -> str:
    return count(value) if value >= 1000 else f"{value:.3g}"


COLUMNS: dict[str, Callable[[Row], Entry]] = {
    "PRM": lambda row: Entry(row.prm, row.prm or "–"),
    "Accuracy": _plain("accuracy", percent, "low", "high"),
    "Against target": _plain("difference", points, "difference_low", "difference_high"),
    "Against models.prm": _plain("prm_difference", points, "prm_difference_low", "prm_difference_high"),
    "FLOPs generated": _plain("flops_generated", power, "flops_low", "flops_high"),
    "FLOPs, everything": _plain("flops_computed", power),
    "Target steps": _plain("target_share", percent, "target_share_low", "target_share_high"),
    "Draft tokens": _plain("draft_tokens", count),
    "Target tokens": _plain("target_tokens", count),
    "PRM tokens": _plain("prm_tokens", count),
    "Seconds": _plain("seconds", _short),
    "Problems/s": _plain("per_second", _short),
    "Problems": _plain("problems", count),
}


def columns(rows: list[Row]) -> dict[str, list[Entry]]:
    """Those in which any row has something."""
    found = {name: [entry(row) for row in rows] for name, entry in COLUMNS.items()}
    return {name: entries for name, entries in found.items() if any(entry.value is not None for entry in entries)}
