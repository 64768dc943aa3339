"""Answers that mean the same get the same number."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.grading import Grade, Grader, Question, Ungraded
from tasks.grading.equivalence import alike


class Counting:
    """Takes answers of equal value as equal, and counts how often it is called."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def equal(self, pairs: Sequence[tuple[Question, str, str]]) -> list[bool]:
        self.calls.append(len(pairs))
        return [eval(one) == eval(other) for _, one, other in pairs]

    def grade(self, solutions: Sequence[Ungraded]) -> list[Grade]:
        raise NotImplementedError


def test_each_answer_is_compared_with_the_first_of_each_number() -> None:
    grader = Counting()
    numbers = alike([(["1/2", "0.5", None, "2", "4/2", "1/2", "3"], None), (["7", "7"], None), ([], None)], grader)
    assert numbers == [[0, 0, None, 1, 1, 0, 2], [0, 0], []]
    assert sum(grader.calls) == 1 + 1 + 2 + 2  # not for equal texts, nor for the only one


def test_no_answers_ask_nothing() -> None:
    grader = Counting()
    assert alike([([None, None], None)], grader) == [[None, None]]
    assert grader.calls == []


def test_the_graders_notion_of_equality() -> None:
    with Grader() as grader:
        numbers = alike(
            [
                (["\\frac{1}{2}", "0.5", "12", "\\frac12"], None),
                (["B", "six", "(B)", "A"], ["five", "six"]),
                (["x+1", "1+x", "x"], None),
            ],
            grader,
        )
    assert numbers == [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1]]
