"""The graders: each reads answers of one kind out of solutions, and compares them.

To add one, write a subclass of `GraderRules` and a line in GRADERS; a column that it reads of a problem beside those of
others is a field of `verdicts.Question`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tasks.grading import judging
from tasks.grading.extraction import extract, reference_answer
from tasks.grading.formulas import Algebra, NeedsAlgebra, NoAlgebra
from tasks.grading.judging import BAD
from tasks.grading.verdicts import Question


class GraderRules(ABC):
    """Grades one kind of answer.

    Everything is asked in the run's own process first, whose `algebra` knows nothing: what takes long or runs
    others' code raises NeedsAlgebra there, and is asked again in a process with limits of time and memory.
    """

    def __init__(self, algebra: Algebra) -> None:
        self.algebra = algebra

    @abstractmethod
    def takes(self, question: Question) -> bool:
        """True if it grades problems of this kind."""

    @abstractmethod
    def answer(self, question: Question, solution: str) -> str | None:
        """The answer that a solution gives; None without one. Never needs algebra."""

    @abstractmethod
    def judge(self, question: Question, answer: str | None) -> str:
        """correct | wrong | unparsed, or BAD if the question's reference cannot be read. Raises NeedsAlgebra."""

    def equal(self, question: Question, one: str, other: str) -> bool:
        """True if two answers to a problem mean the same. Raises NeedsAlgebra."""
        given = self.answer(question, f"\\boxed{{{other}}}")
        return self.judge(question._replace(reference=one), given) == "correct"

    def reference(self, question: Question) -> str:
        """The answer that is read in a question's reference."""
        return question.reference or ""


class Math(GraderRules):
    """Numbers, expressions, lists, words: answers that are compared by their value."""

    def takes(self, question: Question) -> bool:
        """True if the problem has no options."""
        return not question.choices

    def answer(self, question: Question, solution: str) -> str | None:
        """As `GraderRules.answer`."""
        return extract(solution, None)

    def judge(self, question: Question, answer: str | None) -> str:
        """As `GraderRules.judge`."""
        return judging.judged(question.reference or "", answer, self.algebra)

    def reference(self, question: Question) -> str:
        """The answer in the reference, by the rules for solutions."""
        return reference_answer(question.reference or "", None)


class Choice(GraderRules):
    """One of the options that a problem has, by its letter or its content."""

    def takes(self, question: Question) -> bool:
        """True if the problem has options."""
        return bool(question.choices)

    def answer(self, question: Question, solution: str) -> str | None:
        """As `GraderRules.answer`: an option's letter, or text."""
        return extract(solution, question.choices)

    def judge(self, question: Question, answer: str | None) -> str:
        """As `GraderRules.judge`."""
        return judging.chosen(question.reference or "", answer, question.choices or [], self.algebra)

    def reference(self, question: Question) -> str:
        """The answer in the reference, by the rules for solutions."""
        return reference_answer(question.reference or "", question.choices)


GRADERS: dict[str, type[GraderRules]] = {"choice": Choice, "math": Math}
"""By name, in the order in which they are asked, until one has a verdict."""


def graders_of(question: Question) -> list[GraderRules]:
    """The graders that take a problem, without algebra."""
    return [rules for kind in GRADERS.values() if (rules := kind(NoAlgebra())).takes(question)]


def reads_at_a_look(question: Question) -> bool | None:
    """True if any grader can read a question's reference; None if only algebra can tell."""
    unsure = False
    for rules in graders_of(question):
        try:
            if rules.judge(question, None) != BAD:
                return True
        except (NeedsAlgebra, RecursionError):
            unsure = True
    return None if unsure else False


def read_reference(question: Question) -> str:
    """The answer that a problem's first grader reads in its reference."""
    return next((rules.reference(question) for rules in graders_of(question)), question.reference or "")
