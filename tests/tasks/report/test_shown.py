"""Which solutions a page holds where it cannot hold all."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest

from report.outputs import Row, solution, table
from schemas.tables import SOLUTIONS, STEPS
from tasks.report.shown import ShownSolutions

MANY = [solution(f"p{n:03d}", "dt" * (n % 5)) for n in range(200)]


def tables(rows: list[tuple[Row, list[Row]]]) -> tuple[pa.Table, pa.Table]:
    return table((row for row, _ in rows), SOLUTIONS), table((step for _, steps in rows for step in steps), STEPS)


def taken(shown: ShownSolutions) -> list[tuple[int, str]]:
    return [(s["cell"], s["id"]) for s in shown.solutions()]


def test_what_fits_is_all_there() -> None:
    shown = ShownSolutions()
    shown.add(0, *tables(MANY))
    assert taken(shown) == [(0, f"p{n:03d}") for n in range(200)]
    [first, second, *_] = shown.solutions()
    assert first["steps"] == []
    assert [[attempt[:2] for attempt in step] for step in second["steps"]] == [[[1, 0]], [[0, 0], [1, 1]]]
    assert second["marks"] == "dt"


def test_a_sample_does_not_depend_on_order_or_shards() -> None:
    found = []
    for seed, size in ((0, 200), (1, 7), (2, 50)):
        rows = random.Random(seed).sample(MANY, len(MANY))
        shown = ShownSolutions(most=20)
        for start in range(0, len(rows), size):
            shown.add(0, *tables(rows[start : start + size]))
        found.append(taken(shown))
        assert shown.seen == 200
    assert len(found[0]) == 20
    assert found[0] == found[1] == found[2]


def test_texts_are_bounded_as_well_as_rows() -> None:
    rows = [solution(f"p{n}", problem="x" * 5000) for n in range(50)]
    found = []
    for order in (rows, rows[::-1]):
        shown = ShownSolutions(characters=60_000)
        shown.add(0, *tables(order))
        assert shown.size <= 60_000
        found.append(taken(shown))
    assert 5 <= len(found[0]) <= 11
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["problem", "reference", "answer", "error", "metadata"])
def test_every_text_counts(name: str) -> None:
    shown = ShownSolutions()
    shown.add(0, *tables([solution("p", "", **{name: "x" * 5000})]))
    assert shown.size >= 5000


def test_runs_of_an_evaluation_show_the_same_problems() -> None:
    shown = ShownSolutions(most=30)
    for run in range(3):
        shown.add(run, *tables(MANY))
    problems = [{name for run, name in taken(shown) if run == number} for number in range(3)]
    assert problems[0] == problems[1] == problems[2]
    assert len(problems[0]) == 10


def test_the_steps_that_were_given_are_there_and_count() -> None:
    begun = ["First.\n\n", "x" * 30_000]
    shard = tables([solution("p", metadata=json.dumps({"steps": begun})), solution("q")])
    for prefix, there in ((None, []), ("steps", [begun[0], f"{'x' * 20_000} […]"])):
        shown = ShownSolutions()
        shown.add(0, *shard, prefix)
        assert [found["begun"] for found in shown.solutions()] == [there, []]
        assert (shown.size > 30_000) == (prefix is not None)


def test_long_texts_and_many_attempts_are_cut() -> None:
    shown = ShownSolutions()
    shown.add(0, *tables([solution("long", "d" * 500, problem="y" * 30_000)]))
    [only] = shown.solutions()
    assert len(only["steps"]) == 400
    assert only["cut"] == 1
    assert len(only["problem"]) < 20_010
