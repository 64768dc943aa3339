r"""Minerva MATH (problems of MIT OpenCourseWare): the answer stands in the solution's \boxed{}, its unit outside."""

from __future__ import annotations

from tasks.problems.importing.fields import BadRecord, Record, numbered, text
from tasks.problems.importing.latex import last_boxed, without_dollars


def row(record: Record) -> Record:
    """`problem` and `answer` of a record. Raises BadRecord."""
    answer = last_boxed(text(record, "solution"))
    if not answer:
        raise BadRecord("field 'solution' has no \\boxed{} that holds the answer")
    return {
        "problem_id": numbered("minerva_math", record, "idx"),
        "problem": text(record, "problem"),
        "answer": without_dollars(answer),
        "type": record.get("type"),
    }
