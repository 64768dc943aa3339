"""Answers as other tools write them: numbers, and places of choices."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from read_problems import LOCAL, read, told

from schemas.config import Config, InputConfig
from tasks.configuration.identity import differences
from tasks.problems.survey import survey

Write = Callable[..., str]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64()])
def test_whole_numbers_are_answers(problem_set: Write, kind: pa.DataType) -> None:
    path = problem_set({"problem": ["a", "b"], "answer": pa.array([42, None], kind)})
    assert [p.reference for p in read(path)] == ["42", None]


@pytest.mark.parametrize("answer", [1.5, True, ["4"], b"4", {"value": "4"}, datetime.date(2024, 1, 1)])
def test_other_answers_are_told(problem_set: Write, answer: Any) -> None:
    assert "column 'answer' is " in told(problem_set({"problem": ["a"], "answer": [answer]}))


PLACES = ["0", "2", "4", " 1 ", "(2)", "2.", "1.0", "Option 1", "choice: 3", "answer 2"]
PLACES += ["#2", "+2", "2nd", "the 2nd option", "the 1st", "choice_2", "index 2", "No. 3", "option2", "{2}", "item-1"]

NO_PLACES = [
    "B",
    "5",
    "42",
    "-2",
    "0.5",
    "x",
    "two",
    "1/2",
    "$2$",
    "2 apples",
    "A, B",
    "",
    "no",
    "the",
    "option B",
    "x2",
    "2nd law",
    "3.14",
]


@pytest.mark.parametrize("answer", PLACES)
def test_an_answer_that_may_be_a_place_is_asked_about(problem_set: Write, answer: str) -> None:
    choices = [["1", "2", "3", "4"]] * 2
    path = problem_set({"problem": ["a", "b"], "choices": choices, "answer": ["B", answer]}, row_group_size=1)
    message = told(path)
    assert f"{path}: row 1 has the answer {answer!r} beside choices" in message
    assert "input.answers: index" in message
    for answers in ("index", "number", "text"):
        read(path, answers=answers)


@pytest.mark.parametrize("answer", NO_PLACES)
def test_other_answers_beside_choices_are_not(problem_set: Write, answer: str) -> None:
    path = problem_set({"problem": ["a"], "choices": [["1", "2", "3", "4"]], "answer": [answer]})
    assert read(path)[0].reference == answer
    alone = problem_set({"problem": ["a", "b"], "choices": [[], None], "answer": ["2", "2"]}, "alone.parquet")
    assert [p.reference for p in read(alone)] == ["2", "2"]


def test_places_become_letters(problem_set: Write) -> None:
    options = [str(n) for n in range(28)]
    choices = [["x", "y", "z"]] * 3 + [options] * 2
    for kind in (pa.string(), pa.int64()):
        places = pa.array([0, 1, None, 25, 27]).cast(kind)
        path = problem_set({"problem": list("abcde"), "choices": choices, "answer": places})
        assert [p.reference for p in read(path, answers="index")] == ["A", "B", None, "Z", "27"]
        moved = pa.array([1, 2, None, 26, 28]).cast(kind)
        path = problem_set({"problem": list("abcde"), "choices": choices, "answer": moved})
        assert [p.reference for p in read(path, answers="number")] == ["A", "B", None, "Z", "27"]


def test_what_should_be_a_place_and_is_none_costs_its_row(problem_set: Write) -> None:
    answers = ["3", "B", "0", "-1", "1/2", "-2", None, ""]
    path = problem_set({"problem": list("abcdefgh"), "choices": [["x", "y", "z"]] * 8, "answer": answers})
    found = survey(InputConfig(path=path, answers="index"), LOCAL, lambda rows: [False] * len(rows))
    assert found.verdicts.astype(bool).tolist() == [True, True, False, False, True, True, False, False]
    assert list(found.rejected()) == ["answer is not the place of one of its choices, which input.answers says it is"]
    assert [p.reference for p in read(path, answers="index")] == ["A", None, None, None]  # -1 is no label


def test_how_answers_are_read_is_part_of_a_run(configured: Callable[..., Config]) -> None:
    """That they are text is what they were before it could be said."""
    usual = configured()
    assert not differences(usual, configured("input.answers=text"))
    assert differences(usual, configured("input.answers=index"))
