"""GSM8K: the answer is what follows '####' at the end of the worked solution."""

from __future__ import annotations

from tasks.problems.importing.fields import BadRecord, Record, numbered, text

MARK = "####"


def row(record: Record) -> Record:
    """`problem` and `answer` of a record. Raises BadRecord."""
    _, mark, answer = text(record, "answer").rpartition(MARK)
    answer = answer.replace(",", "").strip()
    if not mark or not answer:
        raise BadRecord(f"field 'answer' does not end in {MARK!r} and a number")
    return {
        "problem_id": numbered("gsm8k", record, "idx"),
        "problem": text(record, "question"),
        "answer": answer,
    }
