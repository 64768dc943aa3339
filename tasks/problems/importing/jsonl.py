"""Any file of JSON lines that has `problem`, or else `question`: every other field is carried through untouched.

`answer` may be a string, a number or null; with `choices` (a list of strings) it should be the letter of one.
`problem_id`, else `unique_id`, else `id` is the row's problem_id where it is a string or a whole number.
"""

from __future__ import annotations

from typing import Any

from tasks.problems.importing import fields
from tasks.problems.importing.fields import BadRecord, Record, shown

IDS = ("problem_id", "unique_id", "id")


def row(record: Record) -> Record:
    """All fields of a record, those of a problem set checked. Raises BadRecord."""
    carried = dict(record)
    name = "question" if "problem" not in record and "question" in record else "problem"
    fields.text(record, name)
    problem = carried.pop(name)
    found = next((name for name in IDS if _is_id(record.get(name))), None)
    problem_id = str(carried.pop(found)) if found else None
    if carried.pop("problem_id", None) is not None:
        raise BadRecord(f"field 'problem_id' must be a string or a whole number, not {shown(record['problem_id'])}")
    if (choices := record.get("choices")) is not None and not (
        isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
    ):
        raise BadRecord(f"field 'choices' must be a list of strings, not {shown(choices)}")
    if (source := record.get("source")) is not None and not isinstance(source, str):
        raise BadRecord(f"field 'source' must be a string, not {shown(source)}")
    if (answer := record.get("answer")) is not None and not isinstance(answer, str):
        carried["answer"] = fields.answer(record)
    return {"problem_id": problem_id, "problem": problem, **carried}


def _is_id(value: Any) -> bool:
    return (isinstance(value, str) and value.strip() != "") or (isinstance(value, int) and not isinstance(value, bool))
