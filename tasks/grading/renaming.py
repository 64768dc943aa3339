"""Names that an answer may choose: a function's argument, an arbitrary constant."""

from __future__ import annotations

import re

from tasks.grading.names import variables

CALL = re.compile(r"(\\[a-z]+|[a-zA-Z]) ?\( ?([a-zA-Z]) ?\)")
CONSTANTS = frozenset("abckmABCK")
INTEGRATED = re.compile(r"\+ ?([CK])$")
ADDED = re.compile(r"\+ ?(?:[CcKk]|« ?const(?:ant|\.)? ?»|(?<![A-Za-z])const(?:ant)?)$")


def renamed(name: str | None, value: str, other_name: str | None, other: str) -> tuple[str | None, str]:
    """An answer's name and value with the reference's names if the reference leaves them open: f(t) = 2t is f(x) = 2x,
    f(x) = cx is f(x) = kx, and x² + K is x² + C."""
    call, other_call = (CALL.fullmatch(one or "") for one in (name, other_name))
    if call and other_call and call[1] == other_call[1]:
        if call[2] != other_call[2] and call[2] not in variables(other):
            other_name, other = name, _named(other, other_call[2], call[2])
        free, other_free = variables(value) - {call[2]}, variables(other) - {call[2]}
        (mine, its) = (free - other_free, other_free - free)
        if len(mine) == len(its) == 1 and mine | its <= CONSTANTS:
            other = _named(other, its.pop(), mine.pop())
    if (match := INTEGRATED.search(value)) and ADDED.search(other):
        other = ADDED.sub(f"+ {match[1]}", other)
    return other_name, other


def _named(text: str, old: str, new: str) -> str:
    """With another letter for a variable; commands stay."""
    return re.sub(rf"(\\[a-zA-Z]+)|{old}", lambda match: match[1] or new, text)
