"""The answer that a solution gives, as text. Linear in the solution's length.

What is only thought holds none. Of what is said, the last thing that is given as the answer counts: a box, a tag, a
statement. References are read by the same rules.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tasks.grading.boxes import Box
from tasks.grading.choices import LETTER, LETTER_AND_CONTENT, readings
from tasks.grading.conclusions import concluded
from tasks.grading.formulas import NeedsAlgebra, NoAlgebra
from tasks.grading.marks import last_mark
from tasks.grading.options import conclusion
from tasks.grading.statements import (
    FORMULA,
    LONGEST,
    MATH,
    SO,
    STATED,
    amount_alone,
    only_value,
    stated,
    value,
)
from tasks.grading.telling import told
from tasks.grading.thinking import said

TAIL = 4000
"""Characters at a solution's end in which an answer without a box is looked for."""
LEAD = re.compile(
    r"(?i)^(\\(?:text|textbf|mathrm|mathbf)\s*\{)?\s*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:(?:final|"
    r"correct)\s+)?"
    r"answer\s*(?:is\b\s*:?|:|=)\s*(?=\S)"
)
BARE = re.compile(r"[^\n]{1,200}")
SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}")
SHOWN = re.compile(r"(?:#{1,6}\s+)?\*\*([^*\n]{1,200})\*\*\.?|#{1,6}\s+([^\n]{1,200})|`([^`\n]{1,200})`")
"""A line that is emphasized as a whole."""
VALUE = re.compile(r"(?!\(?[\da-z]+[.)]\s+\S)[-+$\\({\[.\d]")
"""How a line begins that is a value, and not the heading of a section."""

WIDE = str.maketrans({"。": ". ", "，": ", ", "：": ": ", "；": "; ", "（": "(", "）": ")"})
WORDY = re.compile(r"(?i)(?:let|if|then|since|we|suppose|assume|when|where|now|first|next|step|try)\b")
WEIGHED = re.compile(r"\?|[.:]\s+\S.*[.:]\s")
QUOTED_ONE = re.compile(r"\"([^\"]{1,300})\"|'([^']{1,300})'")
QUOTED = re.compile(rf"\s*\[\s*(?:{QUOTED_ONE.pattern})(?:\s*,?\s+(?:{QUOTED_ONE.pattern}))*+\s*\]\s*")
"""A list of texts, as data frames write it."""
TAKEN_BACK = re.compile(
    r"(?i)\b(?:wait|actually|oops|mistake|error|correction|that(?:'s|\s+is|\s+was)\s+(?:wrong|not\s+right|incorrect)|"
    r"let\s+me\s+(?:correct|redo|recompute|recalculate|fix))\b"
)
INSTEAD = re.compile(r"(?i)^(?:(?:no|wait|actually|oops|correction|mistake|error|sorry)\b[\s,:.!-]*)+")
GIVEN = re.compile(r"(?i)(?:so\s+)?(?:it|that|this|the\s+answer)(?:'s|\s+(?:is|should\s+be|must\s+be))\b")
DISPLAY = re.compile(r"(\$\$|\\\[)\s*([^$\n]{1,300}?)\s*(\$\$|\\\])")
"""A formula on lines of its own."""
LED_TO = re.compile(
    r"(\b(?:is|are|equals|get|obtain|have|gives)|:)[*_]{0,2}\s*\n\s*(?=(?:\$\$|\\\[)[^\n]+(?:\$\$|\\\])[.\s]*$)"
)
"""What leads to a formula with which the text ends."""
THOUSANDS = re.compile(r"(?<=\d)(?<!(?<![\d.,}])0)(?:\{,\}|,\\!)(?=\d{3}(?!\d))")
DOT = re.compile(r"[.!?](?=\s|$)|\n")
HTML = re.compile(
    r"(?i)</?(?:b|i|u|s|p|strong|em|br|hr|span|div|center|h[1-6]|ul|ol|li)\s*/?>|<\|[a-z_]{1,30}\|>|</?s>|"
    r"(?<=\S) :-?\)(?=\s|$)"
)
"""Dress, and marks of a model's own that were left in."""
ABOUT = re.compile(r"(?i)approx|about|roughly|round|nearest|decimal|≈")


def extract(solution: str, choices: list[str] | None) -> str | None:
    """The answer of a solution: the last that is given as such; else itself, if that is all it is. None without one."""
    text = said(solution)
    mark = last_mark(text, TAIL)
    return _option(text, mark, choices) if choices else _value(text, mark)


UNENDING = re.compile(r"[\s$]*[-+]?\d[\d,]*\.\d+\s*(?:\.\.\.|…|\\l?dots)[\s$.]*")
"""A decimal that goes on, as 3.14159..., whose dots end no sentence."""


def reference_answer(reference: str, choices: list[str] | None) -> str:
    """The answer that a reference gives, read as a solution's is; itself if it is a bare one."""
    return _reference_answer(reference, tuple(choices) if choices else None)


@lru_cache(4096)
def _reference_answer(reference: str, choices: tuple[str, ...] | None) -> str:
    if choices and any(reference.strip() == choice.strip() for choice in choices):
        return reference
    if UNENDING.fullmatch(reference):
        return reference
    if QUOTED.fullmatch(reference):
        return ", ".join(one or other for one, other in QUOTED_ONE.findall(reference))
    return extract(reference, list(choices) if choices else None) or reference


def _value(text: str, mark: Box | None) -> str | None:
    tail = _tail(text, mark.end if mark else 0)
    later = _corrected(tail, mark is None) or stated(tail)
    if mark is None:
        return later or concluded(tail) or _last_line(tail) or told(tail) or _itself(_tail(text).strip())
    if later and VALUE.match(later) and not _says_more(later) and not ABOUT.search(tail):
        return later
    return _bare(mark, None)


def _corrected(tail: str, unmarked: bool) -> str | None:
    """The answer that the end concludes on, if the answer before was taken back."""
    start = 0
    for match in STATED.finditer(tail) if unmarked else ():
        start = match.end()
    back = TAKEN_BACK.search(tail, start)
    return (concluded(tail) or _instead(tail[back.start() :])) if back else None


def _instead(text: str) -> str | None:
    """The answer that the sentence that takes an answer back gives in its place: 'No wait, it is 1400.'"""
    rest = INSTEAD.sub("", text[:LONGEST])
    sentence = DOT.split(rest, maxsplit=1)[0]
    return only_value(sentence) if GIVEN.match(rest) else amount_alone(sentence)


def _option(text: str, mark: Box | None, choices: list[str]) -> str | None:
    """The last option that is concluded on; a mark that names none says nothing of them."""
    tail = _tail(text)
    found = conclusion(_tail(text, mark.end).lstrip(" ,;:.}$") if mark else tail, choices)
    if found.claimed or (found.stated and mark is None):
        return found.stated if mark is None else found.claimed
    given = _bare(mark, choices) if mark else stated(tail)
    if mark is None and given and LETTER.fullmatch(given):
        given = None  # a letter that was no conclusion
    if given and _may_mean_option(given, choices):
        return given
    if mark:
        if given and (inside := conclusion(given, choices).stated):
            return inside
        found = conclusion(tail, choices)
    if found.stated or found.fitting:
        return found.stated or found.fitting
    alone = _itself(_tail(text).strip())
    if given or alone is None or WEIGHED.search(alone) or LETTER_AND_CONTENT.match(alone):
        return given
    return alone if _may_mean_option(alone, choices, unsure=True) else None


def _tail(text: str, start: int = 0) -> str:
    """The end of a text, from `start` at most, with single spaces and blank lines."""
    tail = text[max(len(text) - TAIL, start) :].translate(WIDE)
    tail = THOUSANDS.sub("", LED_TO.sub(r"\1 ", DISPLAY.sub(r"\1\2\3", tail)))
    return re.sub(r"\n(?: ?\n)+", "\n\n", re.sub(r"[^\S\n]+", " ", HTML.sub("", tail)))


def _bare(mark: Box, choices: list[str] | None) -> str:
    """The answer itself, of a mark that has it in a sentence."""
    bare = LEAD.sub(lambda match: match[1] or "", mark.content)
    if not mark.told:
        return bare
    if choices:
        return conclusion(bare, choices).stated or bare
    bare = bare.rstrip(". ")
    return concluded(f"{bare}.") or value(bare) or bare


def _may_mean_option(answer: str, choices: list[str], unsure: bool = False) -> bool:
    """At a look; `unsure`: what only algebra can tell."""
    try:
        return bool(readings(answer, choices, NoAlgebra()))
    except NeedsAlgebra:
        return unsure
    except RecursionError:
        return False


def _last_line(tail: str) -> str | None:
    """The last line if that is an emphasized value, or an amount."""
    line = tail.rstrip()[-250:].rpartition("\n")[2].strip()
    if amount := amount_alone(line):
        return amount
    if match := SHOWN.fullmatch(line):
        shown = next(group for group in match.groups() if group).strip()
        if VALUE.match(shown) and not _says_more(shown):
            return shown
    return None


def _itself(bare: str) -> str | None:
    if (
        not BARE.fullmatch(bare)
        or "boxed" in bare
        or _says_more(bare)
        or STATED.search(bare)
        or WORDY.match(bare)
        or SO.match(bare)
    ):
        return None
    if math := MATH.fullmatch(bare):
        return bare if bare.startswith("$") else next(group for group in math.groups() if group)
    return bare


def _says_more(text: str) -> bool:
    if "$" in text and re.search(r"(?!and|or)[A-Za-z]{3}", FORMULA.sub(" ", text)):
        return True
    return SENTENCE.search(re.sub(r"\\text\s*\{[^{}]*\}", "", text)) is not None
