"""Texts that are nearly the same, and those that differ most.

Likeness of two texts is the share of 5-grams (words and signs) that they have in common: the Jaccard similarity,
estimated by MinHash (Broder 1997) on 128 hashes, give or take 0.04.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
import polars as pl
from rensa import RMinHash

from tasks.export.grams import TOKENS, grams

GRAM = 5
HASHES = 128
SEED = 1
AT_ONCE = 1 << 20
"""Bytes of text that are cut into grams together."""


def signatures(texts: pl.Series) -> np.ndarray:
    """uint32 [texts, HASHES]: the share of equal places of two rows estimates how alike their texts are."""
    found = np.empty((len(texts), HASHES), np.uint32)
    sizes = texts.str.len_bytes().to_numpy().cumsum()
    start = 0
    while start < len(texts):
        before = int(sizes[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(sizes, before + AT_ONCE, side="right")))
        hashed, bounds = grams(texts[start:stop], GRAM, TOKENS)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashed, bounds, HASHES, SEED)
        values = array("I")  # a list of Python's numbers is read three times as fast as by numpy
        for row in matrix.to_rows():
            values.fromlist(row)
        found[start:stop] = np.frombuffer(values, np.uint32).reshape(-1, HASHES)
        start = stop
    return found


def groups(keys: np.ndarray, least: int) -> Iterator[tuple[int, int]]:
    """Start and end of every run of equal keys that has at least so many rows."""
    if not len(keys):
        return
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.append(starts[1:], len(keys))
    large = ends - starts >= least
    yield from zip(starts[large].tolist(), ends[large].tolist(), strict=True)


def first_of_alike(keys: np.ndarray, marks: np.ndarray, likeness: float) -> np.ndarray:
    """Which rows to keep (bool): of those with one key that are this much alike, the first. Equal keys are adjacent;
    `marks`: signatures."""
    kept = np.ones(len(keys), bool)
    for start, end in groups(keys, 2):
        distinct = [start]
        for row in range(start + 1, end):
            if (marks[distinct] == marks[row]).mean(axis=1).max() >= likeness:
                kept[row] = False
            else:
                distinct.append(row)
    return kept


def most_different(keys: np.ndarray, marks: np.ndarray, ranks: np.ndarray, most: int) -> np.ndarray:
    """Which rows to keep (bool): at most so many of each key. The first is the one with the highest rank; each next one
    is the least like those that were chosen (the farthest-first traversal of Gonzalez 1985), the first of equals."""
    kept = np.ones(len(keys), bool)
    for start, end in groups(keys, most + 1):
        of = marks[start:end]
        kept[start:end] = False
        alike = np.zeros(end - start)
        chosen = int(np.argmax(ranks[start:end]))
        for _ in range(most):
            kept[start + chosen] = True
            alike = np.maximum(alike, (of == of[chosen]).mean(axis=1))
            alike[chosen] = np.inf
            chosen = int(np.argmin(alike))
    return kept
