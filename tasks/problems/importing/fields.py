"""Fields of a benchmark record, checked as they are taken."""

from __future__ import annotations

import json
from typing import Any

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Record = dict[str, Any]


class BadRecord(Exception):
    """Says which field of a record is wrong and how; the file and the line are added by whoever reads them."""


def text(record: Record, name: str) -> str:
    """A string that must be there and hold more than white space, without the white space around it."""
    value = _present(record, name)
    if not isinstance(value, str):
        raise BadRecord(f"field {name!r} must be a string, not {shown(value)}")
    if not value.strip():
        raise BadRecord(f"field {name!r} is empty")
    return value.strip()


def answer(record: Record, name: str = "answer") -> str:
    """A string or a number that must be there; numbers as JSON writes them."""
    value = _present(record, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise BadRecord(f"field {name!r} must be a string or a number, not {shown(value)}")
    return text(record, name)


def choices_and_letter(record: Record) -> tuple[list[str], str]:
    """`choices`, and the letter of the one that `answer` points at with an index from 0."""
    choices = _present(record, "choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) and c.strip() for c in choices):
        raise BadRecord(f"field 'choices' must be a list of strings, none empty, not {shown(choices)}")
    if len(choices) > len(LETTERS):
        raise BadRecord(f"field 'choices' has {len(choices)} entries, more than there are letters")
    index = _present(record, "answer")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(choices):
        raise BadRecord(
            f"field 'answer' must be the index of a choice, from 0 to {len(choices) - 1}, not {shown(index)}"
        )
    return [choice.strip() for choice in choices], LETTERS[index]


def numbered(format: str, record: Record, name: str) -> str | None:
    """problem_id of a file that counts its problems: the number alone would clash with other benchmarks'."""
    number = record.get(name)
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadRecord(f"field {name!r} must be a whole number, not {shown(number)}")
    return f"{format}-{number:05d}"


def shown(value: Any) -> str:
    """Start of a value as JSON, for a message."""
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= 60 else f"{written[:60]}..."


def _present(record: Record, name: str) -> Any:
    if name not in record:
        names = ", ".join(field[:40] for field in list(record)[:10]) or "no fields"
        raise BadRecord(f"field {name!r} is missing; the record has {names}")
    return record[name]
