"""Gaokao 2023 in English: Chinese entrance examinations, SAT, ACT, AMC and others of that year.

Where a problem has options they stand in its text, and the answer is a letter. A few rows ran together when the set was
made: the answer at the end of the question, or the heading of a solution behind the answer.
"""

from __future__ import annotations

import re

from tasks.problems.importing import fields
from tasks.problems.importing.fields import Record, text
from tasks.problems.importing.latex import without_dollars

ANSWER_IN_QUESTION = re.compile(r"(?P<question>.*\S)\s*answers?:\s*(?P<answer>\S.*)", re.IGNORECASE | re.DOTALL)


def row(record: Record) -> Record:
    """`problem` and `answer` of a record. Raises BadRecord."""
    question = text(record, "question")
    if record.get("answer") == "" and (parts := ANSWER_IN_QUESTION.fullmatch(question)):
        question, answer = parts["question"], parts["answer"]
    else:
        answer = fields.answer(record).removesuffix("solution:")
    return {
        "problem_id": text(record, "id") if record.get("id") else None,
        "problem": question,
        "answer": without_dollars(answer),
        "exam": record.get("sourcename"),
        "file": record.get("source"),
    }
