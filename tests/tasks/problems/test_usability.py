"""Which rows of a problem set are usable, and what is said of the others."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from read_rows import attempted, mistake, read, strictly

from tasks.problems.reader import Problem
from tasks.problems.usability import stable_id

Write = Callable[..., str]


# --- columns


def test_the_columns_of_a_problem(problem_set: Write) -> None:
    path = problem_set(
        {
            "problem_id": ["a"],
            "problem": ["2+2?"],
            "answer": ["4"],
            "choices": [["3", "4"]],
            "source": ["x"],
            "level": [3],
        }
    )
    _, usable, rejected = read(path)
    assert not rejected
    assert (usable[0].problem_id, usable[0].text, usable[0].reference) == ("a", "2+2?", "4")
    assert usable[0].choices == ["3", "4"]
    assert json.loads(usable[0].metadata or "") == {"choices": ["3", "4"], "source": "x", "level": 3}


def test_a_problem_alone_is_enough(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["2+2?"]}))
    assert usable == [Problem(stable_id("2+2?"), "2+2?", None, None, None)]


def test_other_string_types_are_strings_too(problem_set: Write) -> None:
    table = pa.table(
        {
            "problem": pa.array(["p", "q"]).dictionary_encode(),
            "problem_id": pa.array(["1", "2"], pa.large_string()),
            "answer": pa.array(["x", None], pa.string_view()),
            "choices": pa.array([["c"], None], pa.large_list(pa.large_string())),
        }
    )
    _, usable, _ = read(problem_set(table))
    assert [(p.problem_id, p.text, p.reference, p.choices) for p in usable] == [
        ("1", "p", "x", ["c"]),
        ("2", "q", None, None),
    ]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"question": ["a"]}, "column 'problem' is missing; the file has question"),
        ({"problem": [1]}, "column 'problem' is int64"),
        ({"problem": [["a"]]}, "column 'problem' is list"),
        ({"problem": [b"a"]}, "column 'problem' is binary"),
        ({"problem": ["a"], "problem_id": [1]}, "column 'problem_id' is int64"),
        ({"problem": ["a"], "answer": [1.5]}, "column 'answer' is double"),
        ({"problem": ["a"], "choices": ["x"]}, "column 'choices' is string"),
        ({"problem": ["a"], "choices": [[1]]}, "column 'choices' is list"),
    ],
)
def test_a_wrong_column_is_told_with_its_file(problem_set: Write, columns: dict[str, Any], told: str) -> None:
    path = problem_set(columns)
    message = mistake(path)
    assert path in message
    assert told in message


def test_a_column_name_that_occurs_twice(problem_set: Write) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["problem", "problem"])
    assert "twice" in mistake(problem_set(table))


# --- rows


def test_rows_without_a_problem_are_rejected_and_cost_no_others(problem_set: Write) -> None:
    path = problem_set(
        {"problem": ["first", None, "", " \n\t ", "\u00a0", "last"], "problem_id": ["a", "b", None, "d", "e", "f"]}
    )
    found, usable, rejected = read(path)
    assert [p.problem_id for p in usable] == ["a", "f"]
    assert [(r.row, r.problem_id, r.reason) for r in rejected] == [
        (1, "b", "problem is null"),
        (2, None, "problem is empty"),
        (3, "d", "problem is empty"),
        (4, "e", "problem is empty"),
    ]
    assert {r.file for r in rejected} == {path}
    assert (found.rows, found.usable) == (6, 2)
    assert found.rejected() == {"problem is null": 1, "problem is empty": 3}


def test_missing_ids_are_hashes_that_depend_on_the_problem_alone(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["p", "q", "r"], "problem_id": [None, "", "given"]}))
    assert [p.problem_id for p in usable] == [stable_id("p"), stable_id("q"), "given"]
    _, elsewhere, _ = read(problem_set({"problem": ["q", "p"]}, "other.parquet"))
    assert [p.problem_id for p in elsewhere] == [stable_id("q"), stable_id("p")]


def test_the_first_of_several_rows_with_one_id_is_used(problem_set: Write) -> None:
    _, usable, rejected = read(problem_set({"problem": ["p", "q", "r", "s"], "problem_id": ["1", "2", "1", "1"]}))
    assert [p.text for p in usable] == ["p", "q"]
    assert [(r.row, r.problem_id, r.reason) for r in rejected] == [
        (2, "1", "problem_id (or the problem, where there is no id) is that of an earlier row"),
        (3, "1", "problem_id (or the problem, where there is no id) is that of an earlier row"),
    ]


def test_equal_problems_are_duplicates_only_where_they_have_no_ids(problem_set: Write) -> None:
    _, usable, rejected = read(problem_set({"problem": ["p", "p", "p", "p"], "problem_id": ["1", "2", None, None]}))
    assert [p.problem_id for p in usable] == ["1", "2", stable_id("p")]
    assert [r.row for r in rejected] == [3]


def test_an_unusable_row_does_not_cost_a_later_one_its_id(problem_set: Write) -> None:
    path = problem_set({"problem": [None, "", "LONG", "p", "q"], "problem_id": ["1"] * 5})
    _, usable, rejected = read(path, too_long=lambda rows: [row["problem"] == "LONG" for row in rows])
    assert [p.text for p in usable] == ["p"]
    assert [r.row for r in rejected] == [0, 1, 2, 4]


def test_too_long_prompts(problem_set: Write) -> None:
    asked: list[dict[str, Any]] = []

    def too_long(rows: list[dict[str, Any]]) -> list[bool]:
        asked.extend(rows)
        return [len(row["problem"]) > 100 for row in rows]

    path = problem_set({"problem": ["short", "x" * 5000, None, ""], "choices": [["a"], None, None, None]})
    _, usable, rejected = read(path, too_long=too_long)
    assert [p.text for p in usable] == ["short"]
    assert [r.row for r in rejected] == [1, 2, 3]
    assert rejected[0].reason == "the prompt is longer than the models take"
    assert rejected[0].problem == "x" * 200
    # rows that have no problem are not asked about; options are part of the prompt
    assert asked == [
        {"problem": "short", "choices": ["a"], "prefix": None},
        {"problem": "x" * 5000, "choices": None, "prefix": None},
    ]


def test_text_comes_through_untouched(problem_set: Write) -> None:
    texts = ["  led by spaces", "trailing\n\n", "\u202ertl\u0000nul", "a\r\nb", "🦀" * 50, "<|im_end|>", "\ufeffbom"]
    _, usable, _ = read(problem_set({"problem": texts}))
    assert [p.text for p in usable] == texts


def test_no_rows_at_all(problem_set: Write) -> None:
    found, usable, rejected = read(problem_set({"problem": pa.array([], pa.string())}))
    assert (found.rows, found.usable, usable, rejected) == (0, 0, [], [])
    assert found.rejected() == {}


def test_a_column_of_nothing_but_nulls(problem_set: Write) -> None:
    found, usable, _ = read(problem_set({"problem": pa.nulls(3), "choices": pa.nulls(3), "problem_id": pa.nulls(3)}))
    assert (found.rejected(), usable) == ({"problem is null": 3}, [])


def not_utf8() -> pa.Array:
    content = b"fine" + b"\xff\xfe" + b"good"
    offsets = pa.py_buffer(struct.pack("<4i", 0, 4, 6, 10))
    return pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(content)])


@pytest.mark.parametrize("column", ["problem", "problem_id", "answer"])
def test_text_that_is_not_utf8_costs_its_row_or_is_told(problem_set: Write, column: str) -> None:
    path = problem_set(pa.table({"problem": ["a", "b", "c"]} | {column: not_utf8()}))
    told, result = attempted(path)
    if result is None:
        assert path in told
    else:
        found, usable, rejected = result
        assert len(usable) == 2
        assert [r.row for r in rejected] == [1]
        assert found.usable == 2


def test_other_text_that_is_not_utf8_is_carried_as_far_as_it_is(problem_set: Write) -> None:
    _, usable, _ = read(problem_set(pa.table({"problem": ["a", "b", "c"], "source": not_utf8()})))
    assert [strictly(p.metadata)["source"] for p in usable] == ["fine", "\ufffd\ufffd", "good"]


def test_options_that_are_not_utf8_cost_their_row(problem_set: Write) -> None:
    options = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), not_utf8())
    found, usable, rejected = read(problem_set(pa.table({"problem": ["a", "b", "c"], "choices": options})))
    assert [p.choices for p in usable] == [["fine"], ["good"]]
    assert [r.row for r in rejected] == [1]
    assert found.rejected() == {"problem, problem_id, answer or choices is not UTF-8 text": 1}
