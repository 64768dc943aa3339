"""Solutions of different problems that are nearly the same."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from tasks.export import near_duplicates
from tasks.export.duplicates import Duplicates
from tasks.export.filters import Filters
from tasks.export.likeness import signatures


def by_one_pattern(count: int) -> tuple[list[str], list[str]]:
    """Problems that differ in their numbers, and their solutions: two share some 60 % of their 5-grams."""
    draw = random.Random(1)
    numbers = [(draw.randint(2, 9999), draw.randint(2, 9999)) for _ in range(count)]
    problems = [
        f"A train leaves the station with {a} passengers on board and at the next stop {b} more passengers get on. How "
        "many passengers are on the train when it leaves the second stop?"
        for a, b in numbers
    ]
    solutions = [
        "We are told how many passengers are on board when the train leaves the station, and how many get on at the "
        f"next stop.\n\nWe add the two numbers: {a} + {b} = {a + b}.\n\nSo the number of passengers on the train when "
        f"it leaves the second stop is {a + b}."
        for a, b in numbers
    ]
    return problems, solutions


def frame(problems: list[str], solutions: list[str], wording: str = "{}") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "key": pl.Series(range(len(problems)), dtype=pl.UInt64),
            "question": problems,
            "user": [wording.format(problem) for problem in problems],
            "solution": solutions,
            "correct": [True] * len(problems),
        }
    )


def kept(rows: pl.DataFrame, size: int, likeness: float = 0.8) -> list[int]:
    duplicates = Duplicates(likeness, Filters())
    return [key for part in rows.iter_slices(size) for key in duplicates.without(part)["key"].to_list()]


def test_problems_by_one_pattern_are_different_problems() -> None:
    problems, solutions = by_one_pattern(1500)
    wording = "Here are examples of how to solve such problems. " * 20 + "{}"
    assert len(kept(frame(problems, solutions, wording), 400)) == 1500


def test_only_what_is_as_much_alike_goes_and_nearly_all_of_what_is_more() -> None:
    problems, solutions = by_one_pattern(300)
    again = [f"{solution} Done." for solution in solutions]
    rows = frame(problems + problems, solutions + again)
    marks = signatures(rows.select(pl.concat_str("question", "solution", separator="\n")).to_series())
    stay = kept(rows, 100)
    assert stay[:300] == list(range(300))
    assert len(stay) < 320
    for key in set(range(600)) - set(stay):
        assert (marks[:key] == marks[key]).mean(axis=1).max() >= 0.8


@pytest.mark.parametrize("most", [2, 128])
def test_batches_make_no_difference(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MOST", most)
    problems, solutions = by_one_pattern(200)
    chain = [" ".join(f"word{n}" for n in range(start, start + 60)) for start in range(0, 100, 2)]
    rows = frame(problems + chain, solutions + chain)
    whole = kept(rows, 1000, 0.6)
    assert len(whole) < 240
    for size in (1, 7, 100):
        assert kept(rows, size, 0.6) == whole


def test_verdicts_and_solutions_of_one_problem_are_not_held_against_each_other() -> None:
    marks = np.tile(np.arange(128, dtype=np.uint32), (4, 1))
    keys = np.array([1, 1, 2, 2], np.uint64)
    index = near_duplicates.NearDuplicateIndex(0.8)
    assert index.add(keys, np.array([1, 1, 1, 0], np.uint64), marks).tolist() == [True, True, False, True]
    assert index.add(keys + 2, np.array([1, 2, 0, 2], np.uint64), marks).tolist() == [False, True, False, False]
