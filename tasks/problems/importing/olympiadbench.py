"""OlympiadBench: a question with the context it may share with others, and a list of final answers.

`final_answer` is null for problems that ask for a proof. Of the rows that have a unit, the answer leaves it out.
"""

from __future__ import annotations

from tasks.problems.importing.fields import BadRecord, Record, numbered, shown, text
from tasks.problems.importing.latex import without_dollars


def row(record: Record) -> Record:
    """`problem` and `answer` of a record. Raises BadRecord."""
    question = text(record, "question")
    context = text(record, "context") if record.get("context") else None
    return {
        "problem_id": numbered("olympiadbench", record, "id"),
        "problem": f"{context}\n\n{question}" if context else question,
        "answer": _answer(record),
        "subfield": record.get("subfield"),
        "answer_type": record.get("answer_type"),
        "is_multiple_answer": record.get("is_multiple_answer"),
        "unit": record.get("unit"),
        "tolerance": record.get("error"),  # by how much an answer may miss the reference
    }


def _answer(record: Record) -> str | None:
    answers = record.get("final_answer", "missing")
    if answers is None:
        return None
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise BadRecord(f"field 'final_answer' must be a list of strings, none empty, not {shown(answers)}")
    return ", ".join(without_dollars(answer).rstrip(".") for answer in answers)
