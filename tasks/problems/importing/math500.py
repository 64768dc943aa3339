"""MATH-500: 500 problems of MATH with their subject and level (1 to 5)."""

from __future__ import annotations

import re

from tasks.problems.importing import fields
from tasks.problems.importing.fields import BadRecord, Record, text


def row(record: Record) -> Record:
    """`problem`, `answer` and `level` of a record. Raises BadRecord."""
    return {
        "problem_id": text(record, "unique_id") if record.get("unique_id") else None,
        "problem": text(record, "problem"),
        "answer": fields.answer(record),
        "level": _level(record.get("level")),
        "subject": record.get("subject"),
    }


def _level(level: object) -> int | None:
    """The first release of MATH writes 'Level 5', and 'Level ?' where it is not known."""
    if level is None or level == "Level ?":
        return None
    match = re.fullmatch(r"(?:Level )?(\d+)", str(level))
    if not match:
        raise BadRecord(f"field 'level' must be a whole number, not {fields.shown(level)}")
    return int(match[1])
