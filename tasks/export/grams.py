"""Words in a row, as hashes. Hashes hold within one process: they differ between versions of polars."""

from __future__ import annotations

import numpy as np
import polars as pl

FACTOR = np.uint64(0x9E3779B97F4A7C15)
WORDS = r"\w+"
TOKENS = r"\w+|[^\w\s]"
"""Words, and every other sign by itself: in a solution + is not -."""


def grams(texts: pl.Series, n: int, pattern: str = WORDS) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint64) of every n pieces in a row of each text, one text after the other, and where each text's begin
    and end (int64 [texts + 1]). A text of fewer pieces is one gram as a whole; one without any has none."""
    pieces = texts.str.to_lowercase().str.extract_all(pattern)
    lengths = pieces.list.len().fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    flat = pieces.explode(empty_as_null=False, keep_nulls=False)
    hashed = flat.hash(seed=0).to_numpy()
    starts = ends - lengths
    left = np.repeat(ends, lengths) - np.arange(len(hashed))  # pieces from here to the text's end
    found = np.zeros(len(hashed), np.uint64)
    padded = np.concatenate([hashed, np.zeros(n, np.uint64)])
    for ahead in range(n):
        found *= FACTOR
        found += np.where(left > ahead, padded[ahead : ahead + len(hashed)], np.uint64(0))
    found ^= found >> np.uint64(29)
    first = np.zeros(len(hashed), bool)
    first[starts[lengths > 0]] = True
    whole = (left >= n) | first
    kept = np.concatenate([[0], np.cumsum(whole)])
    return found[whole], kept[np.concatenate([[0], ends])]
