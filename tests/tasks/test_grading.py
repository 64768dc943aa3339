"""Grading: which answer a solution gives, and whether it is the reference."""

from __future__ import annotations

import threading
import time

import pytest

from tasks import grading
from tasks.grading import Grade, Grader, at_a_look, extract, last_box

CHOICES = ["red", "dark blue", "$x^2$", "None of the above"]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ \{1, \{2\}\} }", r"\{1, \{2\}\}"),
        (r"\boxed{1} and then \boxed{2", "1"),
        (r"\fbox{7}", "7"),
        (r"\boxed {8}", "8"),
        (r"\boxed{}", ""),
        (r"\boxed{a\boxed{b}}", "b"),
        (r"\boxed{a\nb}".replace(r"\n", "\n"), "a\nb"),
        ("no box", None),
        (r"\boxed", None),
        (r"\boxed{", None),
        ("", None),
    ],
)
def test_the_last_whole_box(text: str, box: str | None) -> None:
    assert last_box(text) == box


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{B}", "B"),
        ("The answer is (C).", "C"),
        ("the Answer: D", "D"),
        ("Option A is wrong. The answer is B", "B"),
        ("A long time ago", None),
        ("the answer is Apple", None),
    ],
)
def test_a_multiple_choices_answer(text: str, answer: str | None) -> None:
    assert extract(text, CHOICES) == answer


@pytest.mark.parametrize(
    ("answer", "reference", "verdict"),
    [
        ("B", "B", True),
        ("(B)", "B", True),
        ("B.", "B", True),
        (r"\text{B}", "(B)", True),
        ("dark blue", "B", True),
        ("B", "dark blue", True),
        (r"\text{dark blue}", "B", True),
        ("B) dark blue", "B", True),
        ("x^2", "C", True),
        ("None of the above", "D", True),
        ("A", "B", False),
        ("red", "B", False),
        ("Blue", "B", False),
        ("green", "B", False),
        ("", "B", False),
        (None, "B", False),
    ],
)
def test_choices_by_letter_and_by_content(answer: str | None, reference: str, verdict: bool) -> None:
    assert at_a_look(answer, reference, CHOICES) is verdict


@pytest.mark.parametrize(
    ("answer", "reference", "verdict"),
    [
        ("42", "42", True),
        ("42", " 42 ", True),
        ("042", "42", True),
        ("+7", "7", True),
        ("-7", "7", False),
        ("-0", "0", True),
        ("41", "42", False),
        (r"\pi", r"\pi", True),
        ("1,000", "1000", None),
        ("0.5", r"\frac{1}{2}", None),
        (None, "42", None),
    ],
)
def test_a_verdict_at_a_look(answer: str | None, reference: str, verdict: bool | None) -> None:
    assert at_a_look(answer, reference, None) is verdict


def test_nothing_is_correct_that_says_nothing() -> None:
    with Grader() as grader:
        [grade] = grader.grade([(r"so \boxed{}", "", None)])
    assert grade.correct is not True


def test_answers_compared_by_meaning() -> None:
    cases = [
        (r"so \boxed{0.5}", r"\frac{1}{2}", True),
        (r"so \boxed{\frac{2}{4}}", "0.5", True),
        (r"so \boxed{1,000}", "1000", True),
        (r"so \boxed{1+x^2}", "x^2+1", True),
        (r"so \boxed{2^{1/2}}", r"\sqrt{2}", True),
        (r"so \boxed{(1, 2)}", "(1,2)", True),
        (r"so \boxed{\frac{1}{3}}", r"\frac{1}{2}", False),
        (r"so \boxed{x+1}", "x+2", False),
        ("The answer is $12$.", "12", True),
        ("I do not know.", "12", False),
        ("", "12", False),
        ("\x00\ud7ff \\boxed{\\frac{", "12", False),
        (r"so \boxed{0.5}", None, None),
    ]
    with Grader() as grader:
        grades = grader.grade([(solution, reference, None) for solution, reference, _ in cases])
    assert [g.correct for g in grades] == [verdict for *_, verdict in cases]
    assert [g.answer for g in grades[:2]] == ["0.5", r"\frac{2}{4}"]
    assert grades[8].answer == "12"
    assert grades[9].answer is None
    assert grades[12] == Grade("0.5", None)


def test_no_reference_needs_no_worker() -> None:
    with Grader() as grader:
        assert grader.grade([("x", None, None), (r"\boxed{2}", None, None), (r"\boxed{3}", "3", None)]) == [
            Grade(None, None),
            Grade("2", None),
            Grade("3", "correct"),
        ]
        assert grader.pool is None


def hang(reference: str, solution: str) -> tuple[bool, str | None]:
    """Stands in for `verify` in the worker."""
    while reference == "hang":
        time.sleep(1)
    if reference == "crash":
        import os

        os._exit(9)
    if reference == "raise":
        raise RecursionError
    return True, "found"


def test_a_grade_that_never_comes_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "verify", hang)
    monkeypatch.setattr(grading, "SECONDS", 4.0)
    with Grader() as grader:
        grades = grader.grade([("a", ref, None) for ref in ("fine", "hang", "crash", "raise", "fine")])
    assert [g.correct for g in grades] == [True, None, None, False, True]
    assert [g.answer for g in grades] == ["found", None, None, None, "found"]


def test_a_grader_that_is_closed_lets_nobody_wait_and_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is being graded when its run ends must stop: neither wait for ever nor go on without verdicts."""
    monkeypatch.setattr(grading, "verify", hang)
    ended: list[object] = []

    def commit(grader: Grader) -> None:
        try:
            ended.append(grader.grade([("a", "hang", None), ("b", "hang", None)]))
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
