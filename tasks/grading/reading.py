"""Tells if a text can be read as an answer."""

from __future__ import annotations

import re

from tasks.grading.conditions import pieces
from tasks.grading.congruences import residue
from tasks.grading.formulas import Algebra
from tasks.grading.numbers import GOES_ON, based, number
from tasks.grading.qualifiers import bare
from tasks.grading.quantities import compound, quantity
from tasks.grading.ratios import ratio
from tasks.grading.structure import BRANCH, brackets, cases, elements, matrix, split, unwrapped
from tasks.grading.words import words

DEEPEST = 8
"""Brackets in brackets that are looked into."""


def readable(text: str, algebra: Algebra, depth: int = 0) -> bool:
    """True if a tidy text can be read as an answer: all its parts are numbers, words or formulas."""
    text = unwrapped(text)
    if not text or depth > DEEPEST:
        return False
    if (alone := bare(text).text) != text:
        return readable(alone, algebra, depth + 1)
    if compound(text):
        return True
    value, modulus = residue(text)
    if modulus is not None:
        return readable(value, algebra, depth + 1)
    if members := ratio(text):
        return all(readable(member, algebra, depth + 1) for member in members)
    if (
        number(text) is not None
        or GOES_ON.fullmatch(text)
        or words(text) is not None
        or based(text)
        or text in ("∅", "∞", "-∞", "⦃⦄", "…")
    ):
        return True
    if len(parts := elements(text, True)) > 1:
        return all(readable(part, algebra, depth + 1) for part in parts)
    text = re.sub("^[±∓]", "-", text).replace("±", "+").replace("∓", "-")
    if (found := pieces(text)) and found != [text]:
        return all(readable(part, algebra, depth + 1) for part in found)
    if pair := brackets(text):
        return all(readable(part, algebra, depth + 1) for part in split(pair[1], "[,;|:]"))
    if (branches := cases(text)) is not None:
        return all(readable(cell, algebra, depth + 1) for row in branches for cell in row.split(BRANCH))
    if rows := matrix(text):
        return all(readable(cell, algebra, depth + 1) for row in rows for cell in row)
    if len(sides := split(text, "[=<>≤≥≠≈∈∪]")) > 1:
        return all(readable(side, algebra, depth + 1) for side in sides)
    value, unit = quantity(text)
    return readable(value, algebra, depth + 1) if unit else algebra.reads(text)
