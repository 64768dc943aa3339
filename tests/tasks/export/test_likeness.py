"""n-grams, signatures and remembered hashes against plain Python."""

from __future__ import annotations

import itertools
import re

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.export.grams import TOKENS, grams
from tasks.export.likeness import first_of_alike, most_different, signatures
from tasks.export.near_duplicates import Entries

TEXTS = st.lists(st.text(alphabet="ab +-\n", max_size=12), max_size=6)


def plainly(text: str, n: int) -> list[tuple[str, ...]]:
    pieces = re.findall(TOKENS, text.lower())
    return [tuple(pieces[i : i + n]) for i in range(len(pieces) - n + 1)] or ([tuple(pieces)] if pieces else [])


@given(TEXTS, st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_grams_are_equal_where_the_pieces_are(texts: list[str], n: int) -> None:
    hashed, bounds = grams(pl.Series(texts, dtype=pl.String), n, TOKENS)
    expected = [plainly(text, n) for text in texts]
    assert np.diff(bounds).tolist() == [len(of) for of in expected]
    flat = [gram for of in expected for gram in of]
    names: dict[int, tuple[str, ...]] = {}
    for value, gram in zip(hashed.tolist(), flat, strict=True):
        assert names.setdefault(value, gram) == gram
    assert len(names) == len(set(flat))


def test_signatures_tell_how_alike_texts_are() -> None:
    words = [f"word{n}" for n in range(400)]
    shifted = [" ".join(words[start : start + 200]) for start in (0, 5, 20, 100, 200)]
    marks = signatures(pl.Series([*shifted, "", " "]))
    for row, start in zip(marks[:5], (0, 5, 20, 100, 200), strict=True):
        shared = max(0, 200 - start - 4)
        assert abs((row == marks[0]).mean() - shared / (2 * 196 - shared)) < 0.15
    assert (marks[5] == marks[6]).all(), "texts without words are alike"


def test_the_first_of_alike_and_the_most_different() -> None:
    marks = np.array([[1, 1, 1, 1], [1, 1, 1, 2], [3, 3, 1, 2], [1, 1, 1, 1]], np.uint32)
    keys = np.array([7, 7, 7, 8])
    assert first_of_alike(keys, marks, 0.75).tolist() == [True, False, True, True]
    assert first_of_alike(keys, marks, 0.8).tolist() == [True, True, True, True]
    ranks = np.array([0.1, 0.9, 0.2, 0.3])
    assert most_different(keys, marks, ranks, 1).tolist() == [False, True, False, True]
    assert most_different(keys, marks, np.array([0.9, 0.1, 0.2, 0.3]), 2).tolist() == [True, False, True, True]


@given(st.lists(st.lists(st.integers(0, 60), max_size=8), max_size=12))
@settings(max_examples=50, deadline=None)
def test_rows_are_found_by_their_hashes(batches: list[list[int]]) -> None:
    entries, known = Entries(), dict[int, set[int]]()
    for number, batch in enumerate(batches):
        entries.add(np.array([(value << 32) | number for value in set(batch)], np.uint64))
        for value in batch:
            known.setdefault(value, set()).add(number)
        counts, rows = entries.find(np.arange(61, dtype=np.uint64) << np.uint64(32))
        found = np.split(rows, np.cumsum(counts)[:-1])
        assert [set(of.tolist()) for of in found] == [known.get(value, set()) for value in range(61)]
    sizes = [len(part) for part in entries.parts]
    assert all(one > 2 * other for one, other in itertools.pairwise(sizes))
