"""What each benchmark's `row` makes of a record in that benchmark's shape."""

from __future__ import annotations

import pytest

from tasks.problems.importing import (
    FORMATS,
    aime24,
    gaokao2023en,
    gpqa,
    gsm8k,
    math500,
    minerva_math,
    mmlu_stem,
    olympiadbench,
)
from tasks.problems.importing.fields import BadRecord


def gsm8k_record(answer: str) -> dict:
    return {"question": "How many?", "answer": answer, "idx": 7}


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("2 + 3 = <<2+3=5>>5\n#### 5", "5"),
        ("a lot\n#### 1,000", "1000"),
        ("a lot\n#### 1,450,000", "1450000"),
        ("a loss\n#### -12", "-12"),
        ("#### 3 is what the first part gives\n#### 4", "4"),
    ],
)
def test_gsm8k_answer_follows_the_mark_without_thousands_separators(written: str, answer: str) -> None:
    assert gsm8k.row(gsm8k_record(written)) == {"problem_id": "gsm8k-00007", "problem": "How many?", "answer": answer}


@pytest.mark.parametrize("written", ["It is 5.", "It is 5.\n####  "])
def test_gsm8k_needs_the_mark_and_a_number(written: str) -> None:
    with pytest.raises(BadRecord, match=r"field 'answer'.*####"):
        gsm8k.row(gsm8k_record(written))


def math_record(**changed: object) -> dict:
    record = {"problem": "Find $x$.", "solution": "...", "answer": "\\frac{1}{2}", "subject": "Algebra"}
    return {**record, "level": 3, "unique_id": "test/algebra/1.json", **changed}


def test_math500_keeps_its_ids_levels_and_subjects() -> None:
    assert math500.row(math_record()) == {
        "problem_id": "test/algebra/1.json",
        "problem": "Find $x$.",
        "answer": "\\frac{1}{2}",
        "level": 3,
        "subject": "Algebra",
    }


@pytest.mark.parametrize(("written", "level"), [(5, 5), ("Level 4", 4), ("2", 2), ("Level ?", None), (None, None)])
def test_math_levels_are_whole_numbers(written: object, level: int | None) -> None:
    assert math500.row(math_record(level=written))["level"] == level


def test_math_level_of_another_kind_is_refused() -> None:
    with pytest.raises(BadRecord, match=r"field 'level'.*hard"):
        math500.row(math_record(level="hard"))


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("so $s=\\boxed{1.6} \\mathrm{~cm}$", "1.6"),
        ("first $\\boxed{1}$, then $\\boxed{\\frac{a}{b^{2}}}$.", "\\frac{a}{b^{2}}"),
        ("$\\boxed{a+$ $b}$", "a+ b"),
    ],
)
def test_minerva_answer_is_the_last_box(solution: str, answer: str) -> None:
    record = {"problem": "Find it.", "solution": solution, "type": "Astronomy", "idx": 3}
    row = {"problem_id": "minerva_math-00003", "problem": "Find it.", "answer": answer, "type": "Astronomy"}
    assert minerva_math.row(record) == row


def test_minerva_needs_a_box() -> None:
    with pytest.raises(BadRecord, match=r"field 'solution'.*boxed"):
        minerva_math.row({"problem": "Find it.", "solution": "It is 5.", "type": "Astronomy", "idx": 3})


def test_aime_answer_keeps_its_zeros() -> None:
    record = {"id": 61, "problem": "Find it.", "question": "Find it.", "solution": "...", "answer": "025", "url": "u"}
    assert aime24.row(record) == {"problem_id": "aime24-00061", "problem": "Find it.", "answer": "025", "url": "u"}


CHOICES = {"question": "Which?", "type": "physics", "choices": ["one ", "two", "three", "four"], "answer": 1}


def test_choices_are_answered_by_letter() -> None:
    assert gpqa.row(CHOICES) == {"problem": "Which?", "answer": "B", "choices": ["one", "two", "three", "four"]}
    assert mmlu_stem.row(CHOICES) == {**gpqa.row(CHOICES), "type": "physics"}


@pytest.mark.parametrize("index", [-1, 4, "B", True, None, 1.0])
def test_an_answer_that_points_at_no_choice_is_refused(index: object) -> None:
    with pytest.raises(BadRecord, match="field 'answer' must be the index of a choice, from 0 to 3"):
        gpqa.row({**CHOICES, "answer": index})


@pytest.mark.parametrize("choices", [[], "one", ["one", ""], ["one", 2], None])
def test_choices_must_be_a_list_of_strings(choices: object) -> None:
    with pytest.raises(BadRecord, match="field 'choices' must be a list of strings"):
        mmlu_stem.row({**CHOICES, "choices": choices})


def olympiad_record(**changed: object) -> dict:
    record = {"id": 1606, "subfield": "Geometry", "context": None, "question": "Find it.\n", "solution": ["..."]}
    answer = {"final_answer": ["5"], "is_multiple_answer": False, "unit": None, "answer_type": "Numerical"}
    return {**record, **answer, "error": None, **changed}


def test_olympiad_row() -> None:
    assert olympiadbench.row(olympiad_record(unit="km", error="1e-1")) == {
        "problem_id": "olympiadbench-01606",
        "problem": "Find it.",
        "answer": "5",
        "subfield": "Geometry",
        "answer_type": "Numerical",
        "is_multiple_answer": False,
        "unit": "km",
        "tolerance": "1e-1",
    }


def test_olympiad_context_comes_before_the_question() -> None:
    assert olympiadbench.row(olympiad_record(context="Let $n=2$."))["problem"] == "Let $n=2$.\n\nFind it."


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (["$\\frac{1}{2}$"], "\\frac{1}{2}"),
        (["$90^{\\circ}$,$60^{\\circ}$"], "90^{\\circ},60^{\\circ}"),
        (["$(0, 1) \\cup\\{2\\}$."], "(0, 1) \\cup\\{2\\}"),
        (["1", "$2$"], "1, 2"),
        (["\\$5"], "\\$5"),
        (None, None),
    ],
)
def test_olympiad_answers(written: object, answer: str | None) -> None:
    assert olympiadbench.row(olympiad_record(final_answer=written))["answer"] == answer


@pytest.mark.parametrize("written", [[], [""], [5], "5"])
def test_olympiad_answers_of_another_kind_are_refused(written: object) -> None:
    with pytest.raises(BadRecord, match="field 'final_answer'"):
        olympiadbench.row(olympiad_record(final_answer=written))


@pytest.mark.parametrize(
    ("question", "written", "answer"),
    [
        ("Find it.", "$\\frac{1}{2}$", "\\frac{1}{2}"),
        ("Find it.", "$48$, $384$", "48, 384"),
        ("Find it.", "$145$solution:", "145"),
        ("Find it.answers: $\\frac{3}{10}$", "", "\\frac{3}{10}"),
        ("Find it.\nAnswer: A", "", "A"),
    ],
)
def test_gaokao_answers(question: str, written: str, answer: str) -> None:
    record = {"source": "part1", "sourcename": "AMC", "question": question, "id": "AMC_1", "lang": "en"}
    assert gaokao2023en.row({**record, "answer": written}) == {
        "problem_id": "AMC_1",
        "problem": "Find it.",
        "answer": answer,
        "exam": "AMC",
        "file": "part1",
    }


def test_gaokao_question_about_answers_stays_whole() -> None:
    record = {"source": "part1", "question": "Give the right answer: 1 or 2?", "lang": "en", "answer": "1"}
    row = gaokao2023en.row(record)
    assert (row["problem"], row["answer"], row["problem_id"]) == ("Give the right answer: 1 or 2?", "1", None)


def test_gaokao_row_with_no_answer_anywhere_is_refused() -> None:
    with pytest.raises(BadRecord, match="field 'answer' is empty"):
        gaokao2023en.row({"source": "part1", "question": "Find it.", "lang": "en", "answer": ""})


@pytest.mark.parametrize("format", FORMATS)
def test_a_record_without_a_problem_is_refused(format: str) -> None:
    answer: dict = {"answer": "#### 1", "solution": "\\boxed{1}", "choices": ["a"], "final_answer": ["1"]}
    if format in ("gpqa", "mmlu_stem"):
        answer["answer"] = 0
    with pytest.raises(BadRecord, match=r"field '(problem|question)' is missing; the record has"):
        FORMATS[format](answer)


@pytest.mark.parametrize("problem", [None, "", "  \n", 5, ["a"]])
@pytest.mark.parametrize("format", FORMATS)
def test_a_problem_that_is_no_text_is_refused(format: str, problem: object) -> None:
    record = {"problem": problem, "question": problem, "answer": "#### 1", "solution": "\\boxed{1}", "choices": ["a"]}
    if format in ("gpqa", "mmlu_stem"):
        record["answer"] = 0
    with pytest.raises(BadRecord, match=r"field '(problem|question)' (is empty|must be a string)"):
        FORMATS[format](record)
