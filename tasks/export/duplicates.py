"""Leaves out duplicates and near duplicates of solutions.

Solutions of one problem are compared with one another. Those of different problems count as nearly the same where
problem and solution together do, however the prompt words the problem; see `near_duplicates`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from tasks.export.filters import Filters
from tasks.export.likeness import first_of_alike, signatures
from tasks.export.near_duplicates import NearDuplicateIndex


class Duplicates:
    """Remembers the solutions that it has let pass. `likeness`: share of 5-grams from which two are nearly the same; 1:
    only equal ones."""

    def __init__(self, likeness: float, filters: Filters) -> None:
        self.likeness, self.filters = likeness, filters
        self.index = NearDuplicateIndex(likeness)

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The first of each, of whole problems in the order of their keys: key, question, user, solution, correct.

        Right and wrong solutions are not held against each other, however alike they are.
        """
        first = pl.struct("key", "user", "solution", "correct").is_first_distinct()
        rows = self.filters.keep(rows, "exact duplicates", rows.select(first).to_series())
        if self.likeness == 1:
            return rows
        rows = self.filters.keep(rows, "near duplicates", self._first_of_problem(rows))
        return self.filters.keep(rows, "near duplicates of another problem's", self._first_of_all(rows))

    def _first_of_problem(self, rows: pl.DataFrame) -> pl.Series:
        several = rows.with_row_index("row").filter(pl.len().over("key", "correct") > 1).sort("key", "correct", "row")
        kept = np.ones(len(rows), bool)
        if len(several):
            group = several.select(pl.struct("key", "correct").rle_id()).to_series().to_numpy()
            alone = first_of_alike(group, signatures(several["solution"]), self.likeness)
            kept[several["row"].to_numpy()[~alone]] = False
        return pl.Series(kept)

    def _first_of_all(self, rows: pl.DataFrame) -> pl.Series:
        if not len(rows):
            return pl.Series(dtype=pl.Boolean)
        texts = rows.select(pl.concat_str("question", "solution", separator="\n")).to_series()
        verdicts = rows["correct"].cast(pl.UInt64).fill_null(2).to_numpy()
        return pl.Series(self.index.add(rows["key"].to_numpy(), verdicts, signatures(texts)))
