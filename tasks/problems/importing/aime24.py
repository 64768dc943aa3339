"""AIME 2024: answers are whole numbers of three digits, with leading zeros as on the answer sheet."""

from __future__ import annotations

from tasks.problems.importing import fields
from tasks.problems.importing.fields import Record, numbered, text


def row(record: Record) -> Record:
    """`problem` and `answer` of a record. Raises BadRecord."""
    return {
        "problem_id": numbered("aime24", record, "id"),
        "problem": text(record, "problem"),
        "answer": fields.answer(record),
        "url": record.get("url"),
    }
