"""Runs whose exports ask their PRMs for rewards, and rows of such exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from export.made import draft, redone, solved


def rewritten(*names: str, **others: Any) -> list[Any]:
    """Solutions with a step that was kept and one that was written again."""
    return [solved(n, draft(f"First {n}.\n\n"), redone(f"So {n}.", f"No {n}."), **others) for n in names]


def rows(dest: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(dest / "data" / "*.parquet").sort("problem_id", "sample", "step").to_dicts()
