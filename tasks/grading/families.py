"""Families of values, one for each whole number: {x | x = 3k, k ∈ Z}, {3k | k ∈ Z}, x = 3k (k ∈ Z)."""

from __future__ import annotations

import re
from typing import NamedTuple

from tasks.grading.names import variables
from tasks.grading.structure import brackets, split

INDEX = re.compile(
    r"[,;]? ?(?:« ?,? ?(?:where|for(?: all| any| every| some)?|with|and)? ?»|(?:where|for) )? ?(?:\\forall ?)?"
    r"\(? ?([a-zA-Z]) ?∈ ?(\\mathbb ?(?:\{ ?[ZNQRC] ?\}|[ZNQRC])(?: ?[_^] ?(?:\{[^{}]*\}|[+*]))?) ?\)?$"
)


class Family(NamedTuple):
    """A set written by its members, such as 3k for every whole k."""

    members: str
    """In the index, perhaps with a name: x = 3k."""
    letter: str
    domain: str


def family(text: str) -> Family | None:
    """The family that a tidy text says; None if it says none."""
    pair = brackets(text)
    if pair is not None and pair[0] + pair[2] == "⦃⦄":
        parts = split(pair[1], "[|:]")
        if len(parts) != 2 or (match := INDEX.search(parts[1])) is None:
            return None
        members = parts[1][: match.start()].strip() or parts[0]
    elif match := INDEX.search(text):
        members = text[: match.start()].strip()
    else:
        return None
    if match[1] not in variables(members):
        return None
    return Family(members, match[1], re.sub(r"[{} ]", "", match[2]))


def with_index(one: Family, index: str) -> str | None:
    """The members with another letter as the index; None if that letter means something else in them."""
    if one.letter == index:
        return one.members
    if index in variables(one.members):
        return None
    return re.sub(rf"(\\[a-zA-Z]+|«[^«»]*»)|{one.letter}", lambda match: match[1] or index, one.members)
