"""Filters of rows, and how many rows each has left out."""

from __future__ import annotations

from collections import Counter

import polars as pl


class Filters:
    """Keeps the rows that meet a condition, and counts the others by reason, in the order in which reasons first
    came."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def keep(self, rows: pl.DataFrame, reason: str, condition: pl.Expr | pl.Series) -> pl.DataFrame:
        """The rows that meet a condition (null counts as no)."""
        kept = rows.filter(condition)
        self.left_out[reason] += len(rows) - len(kept)
        return kept
