"""Multiple choice: which options an answer, or a reference, may mean."""

from __future__ import annotations

import re

from tasks.grading.comparing import same
from tasks.grading.formulas import Algebra
from tasks.grading.numbers import number
from tasks.grading.quantities import measure
from tasks.grading.sentences import DENIAL
from tasks.grading.structure import unwrapped
from tasks.grading.tidying import LONGEST, squeezed, tidy
from tasks.grading.words import words

LETTER = re.compile(r"[(\[\"'`“]?\s*([A-Za-z])\s*[)\]\"'`”]?\s*[.:]?")
FONT = re.compile(r"\\math(?:cal|bb|frak|scr) ?\{? ?([A-Za-z]) ?\}?(?![a-zA-Z])")
LETTER_AND_CONTENT = re.compile(
    r"(?:\(\s*([A-Za-z])\s*\)|([A-Za-z])\s*(?:[).:]|\s-\s|\((?=.*\)$)))\s*[.:-]?\s*(\S.*?)", re.DOTALL
)
LETTER_OR_NOT = (
    re.compile(r"(?P<letter>[A-Z])\s*(?:[,;=-]|\bis\b|\s)\s*(?P<other>\S.*)", re.DOTALL),
    re.compile(r"(?P<other>\S.*?)\s*[(,-]\s*(?:option\s+|choice\s+)?(?P<letter>[A-Z])\s*\)?", re.DOTALL),
)
"""A letter and something else, or the other way round: where both mean the same option."""
CALLED_AT_END = re.compile(r"(?s)\S.*\b(?:option|choice|answer)\s+\(?([A-Z])\s*\)?\s*\)?")
SAID_OF = re.compile(r"(?i)(?:is|are|was|were|cannot|can't|does|do|fails?|would|could|may|might|seems?|looks?)\b")
"""Behind a letter: a sentence on that option, which need not be that it is the answer."""
LETTERS = re.compile(r"\(?[A-Z]\)?(?:\s*(?:,|and|&|;)\s*\(?[A-Z]\)?)+")
CALLED = re.compile(r"(?i)^(?:the\s+)?(?:correct\s+)?(?:answer|option|choice)\s*(?:is\s*)?:?\s*(?=\(?[a-z]\b)")

Options = frozenset[int]


def readings(answer: str, choices: list[str], algebra: Algebra) -> set[Options]:
    """The sets of options that an answer may mean: none, one, or several where it is ambiguous."""
    if len(answer) > LONGEST:
        return set()
    bare = CALLED.sub("", FONT.sub(r"\1", unwrapped(tidy(answer))).replace("«", " ").replace("»", " ").strip())
    contents = [tidy(choice) if len(choice) <= LONGEST else "" for choice in choices]  # no answer is so long
    found: set[Options] = set()
    if match := LETTER.fullmatch(bare):
        if (at := _at(match[1], choices)) is not None:
            found.add(frozenset([at]))
    elif LETTERS.fullmatch(bare):
        several = [_at(letter, choices) for letter in re.findall("[A-Z]", bare)]
        if None not in several:
            found.add(frozenset(i for i in several if i is not None))
    elif (match := LETTER_AND_CONTENT.fullmatch(bare)) and (at := _at(match[1] or match[2], choices)) is not None:
        if whole := _contents(bare, contents, algebra, False):
            return {frozenset([i]) for i in whole}
        meant = _contents(match[3].rstrip(") "), contents, algebra)
        if not meant and SAID_OF.match(match[3]):
            return found
        return {frozenset([at])} if at in meant else {frozenset([i]) for i in (at, *meant)}
    for match in (pattern.fullmatch(bare) for pattern in LETTER_OR_NOT if not found):
        at = _at(match["letter"], choices) if match else None
        if match and at is not None and at in _contents(match["other"], contents, algebra):
            return {frozenset([at])}
    called = CALLED_AT_END.fullmatch(bare)
    at = _at(called[1], choices) if called and not DENIAL.search(bare) else None
    if at is not None:
        return {frozenset([i]) for i in {at, *_contents(bare, contents, algebra, False)}}
    return found | {frozenset([i]) for i in _contents(bare, contents, algebra, not found)}


def _at(letter: str, choices: list[str]) -> int | None:
    at = ord(letter.upper()) - ord("A")
    return at if at < len(choices) else None


def _contents(text: str, contents: list[str], algebra: Algebra, by_meaning: bool = True) -> list[int]:
    """The options whose content a text is: letter by letter, else word by word, else by meaning."""
    bare = squeezed(text)
    if not bare:
        return []
    if found := [i for i, content in enumerate(contents) if squeezed(content) == bare]:
        return found
    said = words(text)
    if said is not None and (found := [i for i, content in enumerate(contents) if words(content) == said]):
        return found
    if not by_meaning:
        return []
    found = [i for i, content in enumerate(contents) if content and same(content, text, algebra)]
    if found or (value := number(text)) is None:
        return found
    measured = [measure(content) for content in contents]  # an option's m and s are units, for all options have some
    return [i for i, (shown, unit) in enumerate(measured) if unit and number(shown) == value]
