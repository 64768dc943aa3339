"""Answers that name an option by its place: 2 may be the third option, the second, or the one that reads 2."""

from __future__ import annotations

import re
from collections.abc import Sequence

from schemas.config import Answers

PLACE = re.compile(
    r"(?i)(?:the\b)?[\s(\[{]*(?:(?:option|choice|answer|index|item|label|number|no|nr)s?[\s_.:=-]*)?"
    r"[#+]?(-?\d{1,4})(?:\.0*|st|nd|rd|th)?[\s)\]}.:]*(?:option|choice|answer)?[\s.]*"
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FIRST = {"index": 0, "number": 1}
"""What the first option is called."""


def may_be_place(answer: str, options: int) -> bool:
    """Could an answer beside so many options be the place of one, counted from 0 or 1?"""
    match = PLACE.fullmatch(answer)
    return match is not None and 0 <= int(match[1]) <= options


def chosen(answer: str | None, choices: Sequence[str] | None, answers: Answers | None) -> str | None:
    """The reference that an answer stands for: the letter of the option whose place it is, or itself. None where it is
    no place that there is, and for the -1 of rows without a label."""
    if answer is None or not choices or answers not in FIRST:
        return answer
    match = PLACE.fullmatch(answer)
    at = int(match[1]) - FIRST[answers] if match else -1
    if not 0 <= at < len(choices):
        return None
    return LETTERS[at] if at < len(LETTERS) else choices[at]


def says_no_place(answer: str | None, choices: Sequence[str] | None, answers: Answers | None) -> bool:
    """Should an answer be the place of an option, and is none?"""
    return bool(answer is not None and answer.strip() not in ("", "-1") and choices and answers in FIRST) and (
        chosen(answer, choices, answers) is None
    )
