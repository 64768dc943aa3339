"""The results of grading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple, Protocol

RULES = 5
"""Version of our own rules: grows whenever a verdict may change."""
GRADER = (
    f"math-verify {version('math-verify')}, latex2sympy2-extended {version('latex2sympy2_extended')}, stepwave {RULES}"
)
"""Who graded: stands in every row of solutions."""


class Question(NamedTuple):
    """The part of a problem that graders see."""

    reference: str | None
    choices: list[str] | None = None


Ungraded = tuple[str, str | None, list[str] | None]
"""A solution, and behind it the fields of its `Question`."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The result of grading one solution."""

    answer: str | None
    """The solution's answer as text."""
    verdict: str | None
    """correct | wrong | unparsed | timeout; None without a reference, and where the reference itself cannot be read."""

    @property
    def correct(self) -> bool | None:
        """None without a verdict, and where none came in time."""
        return None if self.verdict in (None, "timeout") else self.verdict == "correct"


class Grades(Protocol):
    """Something that grades solutions."""

    def grade(self, solutions: Sequence[Ungraded]) -> list[Grade]:
        """One grade for each solution, in order."""

    def equal(self, pairs: Sequence[tuple[Question, str, str]]) -> list[bool]:
        """For each problem and two answers to it, in order: do they mean the same? What is not known in time is not
        equal."""
