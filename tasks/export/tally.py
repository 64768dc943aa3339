"""What was left out, and why."""

from __future__ import annotations

from collections import Counter

import polars as pl


class Tally:
    """Counts rows that filters leave out. Reasons keep the order in which filters first ran."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def keep(self, rows: pl.DataFrame, reason: str, condition: pl.Expr | pl.Series) -> pl.DataFrame:
        """The rows that meet a condition (null counts as no)."""
        kept = rows.filter(condition)
        self.left_out[reason] += len(rows) - len(kept)
        return kept
