"""Which answers of a problem mean the same, as the grader decides it and within its time limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from tasks.grading import Grades, Question


@dataclass
class _Problem:
    answers: Sequence[str | None]
    choices: list[str] | None
    first: dict[str, int] = field(default_factory=dict)
    """Text of each answer that was looked at to its number."""
    distinct: list[str] = field(default_factory=list)
    """By number, the text that stands for it."""
    waiting: list[str] = field(default_factory=list)


def alike(problems: Sequence[tuple[Sequence[str | None], list[str] | None]], grader: Grades) -> list[list[int | None]]:
    """For each problem's (answers, choices), a number for each answer. Answers with the same number mean the same; no
    answer has None.

    An answer is compared with the first of each number before it, all problems at once: so many calls of the grader
    as the problem with the most different answers has, less one. What no verdict comes for in time is not equal.
    """
    found = [_Problem(answers, choices) for answers, choices in problems]
    for problem in found:
        problem.waiting = list(dict.fromkeys(filter(_says, problem.answers)))[::-1]
    while asked := [(p, p.waiting.pop()) for p in found if p.waiting]:
        pairs = [(Question(None, p.choices), known, answer) for p, answer in asked for known in p.distinct]
        verdicts = iter(grader.equal(pairs) if pairs else [])
        for problem, answer in asked:
            equal = [next(verdicts) for _ in problem.distinct]
            if True in equal:
                problem.first[answer] = equal.index(True)
            else:
                problem.first[answer] = len(problem.distinct)
                problem.distinct.append(answer)
    return [[p.first[a] if _says(a) else None for a in p.answers] for p in found]


def _says(answer: str | None) -> TypeGuard[str]:
    """True if it is an answer at all. An empty box is none."""
    return bool(answer and answer.strip())
