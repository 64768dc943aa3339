"""Which references grading cannot read, found before a run: their problems would get no verdict.

Plain ones are told at a look. Of others equal texts are read once, and where there are very many different ones, a
sample of them: that of the smallest hashes, so that it is the same each time and every row of a text in it is counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field

from tasks.grading import Grader, Question, read_reference, reads_at_a_look
from tasks.problems.cells import cells, texts
from tasks.problems.option_answers import chosen
from tasks.problems.survey import USABLE, Survey
from tasks.storage.stores import Stores

PLAIN = re.compile(r"\s*-?(?:\d{1,300}|\d{1,3}(?:,\d{3}){1,9})(?:\.\d{1,300})?\s*", re.ASCII)
LETTER = re.compile("[A-Z]")
SAMPLE = 3_000
"""Different references that are read."""
FORMULAS = 500
"""Of them, those that are read by algebra."""
NAMED = 5
"""Rows that are named."""
LONG = 20_000
"""Characters of a reference of which only the answer is kept while rows are read."""
SHOWN = 40
"""Characters of a reference that are shown."""


@dataclass(frozen=True)
class References:
    """How many references can be read."""

    rows: int = 0
    """Usable rows with a reference."""
    unread: int = 0
    """Of them, rows whose reference was looked at and cannot be read."""
    passed_over: int = 0
    """Rows whose reference was not looked at, as there are too many different ones."""
    first: list[tuple[int, str]] = field(default_factory=list)
    """Row (from 0) and beginning of the first that cannot be read."""


@dataclass
class _Text:
    reference: str
    choices: list[str] | None
    rows: int
    first: int
    shown: str


def look_over(found: Survey, stores: Stores) -> References:
    """Read the references of a surveyed problem set's usable rows. Memory does not grow with the rows."""
    rows = other = start = 0
    sample: dict[int, _Text] = {}
    limit = 1 << 64
    for file in found.files:
        for batch in file.read_again(stores, ("answer", "choices")):
            if "answer" not in batch.schema.names:
                return References()
            given = texts(batch.column("answer"))
            choices = cells(batch.column("choices")) if "choices" in batch.schema.names else [None] * len(batch)
            for row, (reference, options) in enumerate(zip(given, choices, strict=True), start):
                if found.verdicts[row] != USABLE or not isinstance(reference, str):
                    continue
                offered = ["" if option is None else option for option in options] if options else None
                if (reference := chosen(reference, offered, found.config.answers)) is None:
                    continue
                rows += 1
                if _plain(reference, offered):
                    continue
                other += 1
                key = _hash(reference, offered)
                if key >= limit:
                    continue
                if (text := sample.get(key)) is not None:
                    text.rows += 1
                    continue
                kept = reference if len(reference) <= LONG else read_reference(Question(reference, offered))
                sample[key] = _Text(kept, offered, 1, row, reference[:SHOWN])
                if len(sample) > 2 * SAMPLE:
                    limit = sorted(sample)[SAMPLE]
                    sample = {key: text for key, text in sample.items() if key < limit}
            start += len(batch)
    if len(sample) > SAMPLE:
        limit = sorted(sample)[SAMPLE]
        sample = {key: text for key, text in sample.items() if key < limit}
    return _read(rows, other, [sample[key] for key in sorted(sample)])


def _plain(reference: str, choices: list[str] | None) -> bool:
    """Can a reference be read, as is seen at once: a number, or the letter of an option?"""
    if choices is None:
        return PLAIN.fullmatch(reference) is not None
    return (
        LETTER.fullmatch(reference) is not None
        and ord(reference) - ord("A") < len(choices)
        and all(len(choice) > len("(A).") for choice in choices)
    )


def _hash(reference: str, choices: list[str] | None) -> int:
    text = reference if choices is None else json.dumps([reference, choices])
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _read(rows: int, other: int, sample: list[_Text]) -> References:
    looks = [(text, reads_at_a_look(Question(text.reference, text.choices))) for text in sample]
    bad = [text for text, readable in looks if readable is False]
    formulas = [text for text, readable in looks if readable is None][:FORMULAS]
    if formulas:
        with Grader() as grader:
            grades = grader.grade([("", text.reference, text.choices) for text in formulas])
        bad += [text for text, grade in zip(formulas, grades, strict=True) if grade.verdict is None]
    looked = sum(text.rows for text, readable in looks if readable is not None) + sum(text.rows for text in formulas)
    bad.sort(key=lambda text: text.first)
    return References(
        rows, sum(text.rows for text in bad), other - looked, [(text.first, text.shown) for text in bad[:NAMED]]
    )
