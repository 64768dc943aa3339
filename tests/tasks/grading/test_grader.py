"""What becomes of solutions as a whole: who is asked, and what happens where no answer comes."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tasks.grading import GRADER, Grade, Grader, GraderRules, Question, worker
from tasks.grading import grader as grading


def test_without_a_reference_there_is_no_verdict_and_no_worker() -> None:
    with Grader() as grader:
        assert grader.grade(
            [("No idea at all", None, None), (r"\boxed{2}", None, None), (r"\boxed{3}", "3", None)]
        ) == [
            Grade(None, None),
            Grade("2", None),
            Grade("3", "correct"),
        ]
        assert grader.pool is None


@pytest.mark.parametrize(
    ("verdict", "correct"),
    [("correct", True), ("wrong", False), ("unparsed", False), ("timeout", None), (None, None)],
)
def test_what_counts_as_correct(verdict: str | None, correct: bool | None) -> None:
    assert Grade("1", verdict).correct is correct


def test_who_graded_is_said_with_versions() -> None:
    assert GRADER.startswith("math-verify ")
    assert " stepwave " in GRADER


def test_numbers_letters_and_words_need_no_worker() -> None:
    with Grader() as grader:
        grades = grader.grade(
            [
                (r"\boxed{0.50}", r"\frac{1}{2}", None),
                (r"\boxed{(b)}", "B", ["1", "2"]),
                (r"\boxed{\text{East}}", "east", None),
                (r"\boxed{2, 1}", r"\{1, 2\}", None),
                (r"\boxed{7}", "8", None),
                ("I do not know.", "8", None),
            ]
        )
        assert [g.verdict for g in grades] == ["correct"] * 4 + ["wrong", "unparsed"]
        assert grader.pool is None


def test_no_answer_may_take_longer_by_the_clock_than_others_can_wait() -> None:
    assert grading.WORKING_SECONDS < grading.SECONDS <= 10


BOMBS = ["9^{9^{9^9}}", r"\sum_{n=1}^{10^{9}} \frac{1}{n^2+n+x}", "|" * 300 + "x" + "|" * 300, r"\left|" * 90 + "x"]


def test_an_answer_that_takes_too_much_work_is_unparsed_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "WORKING_SECONDS", 1)
    monkeypatch.setattr(grading, "SECONDS", 120.0)  # the machine may be busy
    with Grader() as grader:
        grades = grader.grade([(f"\\boxed{{{bomb}}}", "5", None) for bomb in BOMBS] + [(r"\boxed{x+x}", "2x", None)])
    assert [g.verdict for g in grades] == ["unparsed"] * len(BOMBS) + ["correct"]


@pytest.mark.parametrize(
    "answer",
    ["(" * 1900, "{" * 900 + "1" + "}" * 900, "1," * 900, "\\pm" * 600, "£" * 1900, "\x00\ud800", "9" * 1999,
     "a=" * 900,
     "\\begin{pmatrix}" * 100, "\\text{" * 300 + "}" * 300, "(1,(2,(3," * 200, "<" * 1900, "1" * 10**6],
)  # fmt: skip
def test_hostile_answers_get_a_verdict(grader: Grader, answer: str) -> None:
    grades = grader.grade([(f"\\boxed{{{answer}}}", "7", None), (f"\\boxed{{{answer}}}", "B", ["7", "8"])])
    assert not {g.verdict for g in grades} & {"correct", None}


@pytest.mark.parametrize("option", ["the answer is " * 70_000, "7 " * 500_000, "=" * 1_000_000])
def test_an_option_that_is_longer_than_any_answer_is_no_answer(grader: Grader, option: str) -> None:
    assert [g.verdict for g in grader.grade([(rf"\boxed{{{a}}}", "B", [option, "8"]) for a in "78"])] == [
        "wrong",
        "correct",
    ]


def hang(seconds: int, grader: type[GraderRules], method: str, problem: Question, answer: str | None) -> str:
    """Stands in for a worker's verdict."""
    reference = problem.reference
    while reference == "x+hang":
        time.sleep(1)
    if reference == "x+crash":
        os._exit(9)
    if reference == "x+raise":
        raise ValueError
    return "correct"


def test_a_verdict_that_never_comes_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "asked", hang)
    monkeypatch.setattr(grading, "SECONDS", 2.0)
    with Grader() as grader:
        names = ("fine", "hang", "crash", "raise", "fine")
        grades = grader.grade([("\\boxed{y}", f"x+{name}", None) for name in names])
    assert [g.verdict for g in grades] == ["correct", "timeout", "timeout", "timeout", "correct"]
    assert {g.answer for g in grades} == {"y"}


def test_a_fault_of_the_grader_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "asked", hang)
    with Grader() as grader:
        grades = grader.grade([(f"\\boxed{{y{i}}}", "x+raise", None) for i in range(3)])
    assert [g.verdict for g in grades] == ["timeout"] * 3
    assert [record.message for record in caplog.records if "ValueError" in record.message] == caplog.messages[:1]


def broken(*_: object) -> None:
    """Stands in for the preparation of a worker whose libraries are missing."""
    worker.unprepared.append("ModuleNotFoundError: No module named 'sympy'")


def dead(*_: object) -> None:
    """Stands in for the preparation of a worker that is killed at once."""
    os._exit(1)


def test_without_libraries_nothing_is_graded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "prepare", broken)
    with Grader() as grader, pytest.raises(grading.CannotGrade, match="sympy"):
        grader.grade([("\\boxed{y}", "x+1", None)])


def test_workers_that_die_at_their_start_grade_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "prepare", dead)
    monkeypatch.setattr(grading, "STARTING_SECONDS", 5.0)
    with Grader() as grader, pytest.raises(grading.CannotGrade):
        grader.grade([("\\boxed{y}", "x+1", None)])


def test_a_grader_that_is_closed_lets_nobody_wait_and_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is being graded when its run ends must stop: neither wait for ever nor go on without verdicts."""
    monkeypatch.setattr(worker, "asked", hang)
    ended: list[object] = []

    def commit(grader: Grader) -> None:
        try:
            ended.append(grader.grade([("\\boxed{y}", "x+hang", None), ("\\boxed{z}", "x+hang", None)]))
        except BaseException as error:
            ended.append(error)

    with Grader() as grader:
        thread = threading.Thread(target=commit, args=[grader], daemon=True)
        thread.start()
        while grader.pool is None:
            time.sleep(0.01)
    thread.join(30)
    assert not thread.is_alive()
    assert isinstance(ended[0], BaseException)
