"""What grading says of a solution."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

RULES = 4
"""Version of our own rules: grows whenever a verdict may change."""
GRADER = (
    f"math-verify {version('math-verify')}, latex2sympy2-extended {version('latex2sympy2_extended')}, stepwave {RULES}"
)
"""Who graded: stands in every row of solutions."""


@dataclass(frozen=True, slots=True)
class Grade:
    answer: str | None
    """The solution's answer as text."""
    verdict: str | None
    """correct | wrong | unparsed | timeout; None without a reference, and where the reference itself cannot be read."""

    @property
    def correct(self) -> bool | None:
        """None without a verdict, and where none came in time."""
        return None if self.verdict in (None, "timeout") else self.verdict == "correct"


class Grades(Protocol):
    """What grades solutions."""

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        """One grade for each (solution, reference, choices), in order."""
