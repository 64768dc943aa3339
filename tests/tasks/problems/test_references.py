"""References that grading cannot read are found before a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from schemas.config import Answers, InputConfig
from tasks.problems import references
from tasks.problems.references import References, look_over
from tasks.problems.survey import survey
from tasks.storage.stores import Stores

ProblemSet = Callable[..., str]
STORES = Stores()
READ = [
    "37", "-3.5", "1,234", "The answer is 37", "#### 40", "\\boxed{134}", "**37**", "$x=5$.", "\\frac{1}{2}", "x + y",
    "We add.\n\nSo it is \\boxed{3}.", "Tom has 3 + 4 = 7.\n#### 7", "no solution", "(1, 2)", "True",
]  # fmt: skip
UNREAD = ["x +", "\\frac{1}{", "???", " ", "$$", "\\boxed{x +}", "The answer is $x +$"]
OPTIONS = ["40", "41", "42"]


def looked(path: str, answers: Answers | None = None) -> References:
    found = survey(InputConfig(path=path, answers=answers), STORES, lambda rows: [False] * len(rows))
    return look_over(found, STORES)


def problems(answers: list[Any], **columns: Any) -> dict[str, Any]:
    return {"problem": [f"Problem {i}" for i in range(len(answers))], "answer": answers, **columns}


def test_each_that_cannot_be_read_is_counted_and_the_first_are_named(problem_set: ProblemSet) -> None:
    answers = [*READ, None, *UNREAD, UNREAD[0]]
    found = looked(problem_set(problems(answers), "answers.parquet"))
    assert (found.rows, found.unread, found.passed_over) == (len(answers) - 1, len(UNREAD) + 1, 0)
    start = len(READ) + 1
    assert found.first == [(start + i, text) for i, text in enumerate(UNREAD[: references.NAMED])]


def test_of_a_multiple_choice_a_reference_names_an_option(problem_set: ProblemSet) -> None:
    good = ["A", "(B)", "Option C", "C) 42", "Answer: B", "41", "\\boxed{A}"]
    bad = ["F", "green", "2", "A or B"]
    path = problem_set(problems(good + bad, choices=[OPTIONS] * len(good + bad)), "choices.parquet")
    assert [row for row, _ in looked(path, "text").first] == [len(good) + i for i in range(len(bad))]


@pytest.mark.parametrize("answers", ["index", "number"])
@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_a_place_is_read_as_the_option_that_it_names(
    problem_set: ProblemSet, answers: Answers, kind: pa.DataType
) -> None:
    given = pa.array([1, 2, -1, None], pa.int64()).cast(kind)
    path = problem_set(problems(given, choices=[["red", "blue", "green"]] * 4), "places.parquet")
    assert looked(path, answers) == References(2, 0, 0, [])
    assert looked(path, "text").unread == 3


def test_rows_that_are_not_used_and_sets_without_references_have_none(problem_set: ProblemSet) -> None:
    rows = {"problem": ["One?", None, "One?", ""], "answer": ["1", "x +", "x +", "x +"]}
    assert looked(problem_set(rows, "unusable.parquet")) == References(rows=1)
    assert looked(problem_set({"problem": ["One?", "Two?"]}, "bare.parquet")) == References()
    null = {"problem": ["One?"], "answer": pa.array([None], pa.null())}
    assert looked(problem_set(null, "null.parquet")) == References()


def test_of_too_many_a_sample_is_read_and_that_is_told(
    problem_set: ProblemSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "SAMPLE", 10)
    answers = [str(i) for i in range(50)] + [f"??? {'?' * i}" for i in range(60)] * 2
    path = problem_set(problems(answers), "many.parquet")
    found = looked(path)
    assert (found.rows, found.unread, found.passed_over) == (170, 20, 100)
    assert looked(path) == found


def test_formulas_are_read_up_to_a_number(problem_set: ProblemSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "FORMULAS", 3)
    found = looked(problem_set(problems([f"x + {i}y" for i in range(10)]), "formulas.parquet"))
    assert (found.rows, found.unread, found.passed_over) == (10, 0, 7)
