"""Answers that mean the same get the same number."""

from __future__ import annotations

from tasks.answers_alike import alike
from tasks.grading import Grade, Grader
from tasks.grading.boxes import last_boxes


class Counting:
    """Takes answers of equal value as equal, and counts how often it is called."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        self.calls.append(len(solutions))
        equal = [
            eval(box.content if (box := last_boxes(text)) else "None") == eval(str(reference))
            for text, reference, _ in solutions
        ]
        return [Grade(None, "correct" if same else "wrong") for same in equal]


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
