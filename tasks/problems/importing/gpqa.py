"""GPQA Diamond: four choices and the index of the right one."""

from __future__ import annotations

from tasks.problems.importing.fields import Record, choices_and_letter, text


def row(record: Record) -> Record:
    """`problem`, `choices` and `answer` of a record. Raises BadRecord."""
    choices, letter = choices_and_letter(record)
    return {"problem": text(record, "question"), "answer": letter, "choices": choices}
