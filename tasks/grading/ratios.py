"""Ratios such as 2:3:4, times of day such as 12:30, and what both can be."""

from __future__ import annotations

import re
from itertools import pairwise

from tasks.grading.formulas import Algebra
from tasks.grading.numbers import number
from tasks.grading.structure import split

CLOCK = re.compile(
    r"(\d{1,2})(?:[:.](\d\d))?(?::(\d\d))? ?(?:«? ?(am|pm|a\.m\.?|p\.m\.?|AM|PM|noon|midnight|hours|hrs|o'clock) ?»?)?",
    re.IGNORECASE,
)
TO = re.compile(r"[^\s«»]+(?: ?« ?to ?» ?[^\s«»]+){1,5}|\d[\d.,]*(?: to \d[\d.,]*){1,5}")


def ratio(text: str) -> list[str] | None:
    """Members of a ratio; None if the text is none."""
    if TO.fullmatch(text):
        return [part.strip() for part in re.split(r"«? ?(?<![a-z])to(?![a-z]) ?»?", text)]
    if ":" not in text or re.search("[=<>≤≥≠≈∈]", text):
        return None
    members = split(text, ":")
    return members if len(members) > 1 and all(members) else None


def clock(text: str) -> tuple[int, int, int, str] | None:
    """Hour, minute, second and half of the day ('' if none is said) of what can be a time of day: 1:30, not 1:2."""
    match = CLOCK.fullmatch(text)
    if match is None or not (match[2] or (match[4] or "")[:1].lower() in ("a", "p")) or ("." in text.split(" ")[0]):
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    half = (match[4] or "")[:1].lower()
    half = {"n": "p", "m": "a"}.get(half, half if half in "ap" else "")
    if hour > 24 or minute > 59 or second > 59:
        return None
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    elif hour > 12 or hour == 0:
        half = "p" if hour > 12 else "a"
    return hour, minute, second, half


def same_ratio(reference: str, answer: str, algebra: Algebra) -> bool | None:
    """True if these are the same ratio or time, False if not; None if neither is one.

    What can be a time of day is no ratio: 10:20 is not 5:10. A reference such as 1:2 is none, so 10:20 may mean it.
    """
    ones, others = ratio(reference), ratio(answer)
    time, other_time = clock(reference), clock(answer)
    if time is not None:
        if other_time is None:
            return False
        if not time[3] and other_time[3]:
            return time[1:3] == other_time[1:3] and time[0] % 12 == other_time[0] % 12
        return time == other_time
    if ones is None and (others is None or len(others) != 2):
        return None
    if any(number(member) == 0 for member in [*(ones or []), *(others or [])]):  # a score, or a time
        return (
            ones is not None
            and others is not None
            and len(ones) == len(others)
            and all(algebra.equal(a, b) for a, b in zip(ones, others, strict=True))
        )
    if ones is None and re.fullmatch(r"-?\d+", reference):  # 12 is no answer in the form of odds, 12 to 1
        return False
    if ones is None or others is None:
        members, value = (ones, answer) if ones is not None else (others or [], reference)
        if (known := number(value)) is not None and known.denominator == 1:
            return False
        return len(members) == 2 and algebra.equal(f"\\frac{{{members[0]}}}{{{members[1]}}}", value)
    return len(ones) == len(others) and all(
        algebra.equal(f"({a}) \\cdot ({d})", f"({b}) \\cdot ({c})")
        for (a, b), (c, d) in zip(pairwise(ones), pairwise(others), strict=True)
    )
