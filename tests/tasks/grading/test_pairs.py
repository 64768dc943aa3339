"""The grader against a table of pairs made by hand (pairs.tsv)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tasks.grading import Grader, Question
from tasks.grading.formulas import NeedsAlgebra
from tasks.grading.graders import graders_of
from tasks.grading.judging import BAD

KINDS = {"interval", "fraction", "unit", "set", "matrix", "percent", "text", "choice", "unparsed", "bad", "solution"}


class Pair(NamedTuple):
    kind: str
    verdict: str
    reference: str
    answer: str
    choices: list[str] | None

    @property
    def solution(self) -> str:
        whole = self.kind == "solution" or "\\boxed" in self.answer
        return self.answer if whole else f"So we get \\boxed{{{self.answer}}}."


def _pairs() -> list[Pair]:
    lines = (Path(__file__).parent / "pairs.tsv").read_text(encoding="utf-8").splitlines()
    fields = [line.split("\t") for line in lines if not line.startswith("#")]
    return [Pair(*f[:4], f[4].split(" | ") if len(f) > 4 else None) for f in fields]


PAIRS = _pairs()


def test_the_table_has_enough_of_every_kind() -> None:
    kinds, verdicts = Counter(p.kind for p in PAIRS), Counter(p.verdict for p in PAIRS)
    assert len({(p.reference, p.answer, str(p.choices)) for p in PAIRS}) >= 450
    assert all(kinds[kind] >= 5 for kind in KINDS)
    assert set(verdicts) == {"correct", "wrong", "unparsed", "bad"}
    assert min(verdicts["correct"], verdicts["wrong"]) >= 150


def test_every_pair_is_graded_as_by_hand(grader: Grader) -> None:
    grades = grader.grade([(p.solution, p.reference, p.choices) for p in PAIRS])
    found = [(p, grade.verdict or "bad") for p, grade in zip(PAIRS, grades, strict=True)]
    assert [(p, verdict) for p, verdict in found if verdict == "correct" != p.verdict] == []  # no false 'correct'
    assert [(p, verdict) for p, verdict in found if verdict != p.verdict] == []


def at_a_look(pair: Pair) -> str | None:
    """The verdict if it needs no algebra, else None."""
    question = Question(pair.reference, pair.choices)
    [rules] = graders_of(question)
    try:
        return rules.judge(question, pair.answer)
    except NeedsAlgebra:
        return None


def test_a_look_says_nothing_else_than_algebra_would(grader: Grader) -> None:
    looks = [(p, at_a_look(p)) for p in PAIRS if "\\boxed" not in p.solution[:3]]
    decided = [(p, look) for p, look in looks if look is not None and p.kind != "solution"]
    assert len(decided) > len(PAIRS) / 2
    assert [(p, look) for p, look in decided if look != (BAD if p.verdict == "bad" else p.verdict)] == []
