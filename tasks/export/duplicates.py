"""Solutions that were there already, word by word or nearly.

Solutions of one problem are compared with one another. Those of different problems count as nearly the same where
problem and solution together do; of these only hashes are remembered, 8 bytes for each of some ten bands
(locality-sensitive hashing, Indyk and Motwani 1998), so that what is this much alike is found more often than not,
what is more alike nearly always, and what is less alike seldom taken for it.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from tasks.export.grams import FACTOR
from tasks.export.likeness import HASHES, first_of_alike, signatures
from tasks.export.tally import Tally


class Duplicates:
    """Remembers the solutions that it has let pass. `likeness`: share of 5-grams from which two are nearly the same; 1:
    only equal ones."""

    def __init__(self, likeness: float, tally: Tally) -> None:
        self.likeness, self.tally = likeness, tally
        self.bands = next((n for n in range(HASHES, 0, -1) if (1 / n) ** (1 / (HASHES // n)) >= likeness), 1)
        """The most bands with which two texts of this likeness are taken for the same about every second time."""
        self.seen = SeenHashes()

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The first of each, of whole problems in the order of their keys: key, user, solution, correct.

        Right and wrong solutions are not held against each other, however alike they are.
        """
        first = pl.struct("key", "user", "solution", "correct").is_first_distinct()
        rows = self.tally.keep(rows, "exact duplicates", rows.select(first).to_series())
        if self.likeness == 1:
            return rows
        rows = self.tally.keep(rows, "near duplicates", self._first_of_problem(rows))
        return self.tally.keep(rows, "near duplicates of another problem's", self._first_of_all(rows))

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
        marks = signatures(rows.select(pl.concat_str("user", "solution", separator="\n")).to_series())
        width = HASHES // self.bands
        bands = marks[:, : self.bands * width].reshape(len(rows), self.bands, width)
        verdicts = rows["correct"].cast(pl.UInt64).fill_null(2).to_numpy()
        hashes = np.arange(self.bands, dtype=np.uint64)[None, :] * np.uint64(3) + verdicts[:, None]
        for place in range(width):
            hashes = (hashes ^ (hashes >> np.uint64(29))) * FACTOR + bands[:, :, place]
        unlike, at, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        inverse = inverse.reshape(hashes.shape)
        keys = rows["key"].to_numpy()
        earlier = keys[at[inverse] // self.bands] != keys[:, None]
        fresh = ~(earlier | self.seen.has(unlike)[inverse]).any(axis=1)
        self.seen.add(hashes[fresh].ravel())
        return pl.Series(fresh)


class SeenHashes:
    """A set of uint64 in sorted arrays, each more than twice as long as the next: 8 bytes a value."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def has(self, values: np.ndarray) -> np.ndarray:
        found = np.zeros(values.shape, bool)
        for part in self.parts:
            at = np.minimum(np.searchsorted(part, values), len(part) - 1)
            found |= part[at] == values
        return found

    def add(self, values: np.ndarray) -> None:
        if not len(values):
            return
        self.parts.append(np.sort(values))
        while len(self.parts) > 1 and len(self.parts[-2]) <= 2 * len(self.parts[-1]):
            merged = np.concatenate([self.parts.pop(), self.parts.pop()])
            merged.sort()
            self.parts.append(merged)
