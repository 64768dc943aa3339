"""Which rows of a problem set can be used. What a dictionary repeats is looked at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.config import Answers
from tasks.problems.cells import text_lists, texts
from tasks.problems.option_answers import may_be_place, says_no_place
from tasks.problems.row_sizes import distinct, sizes, values_of

USABLE, NULL, EMPTY, NOT_TEXT, DUPLICATE, TOO_LONG, BAD_PREFIX, NO_OPTION, TOO_LARGE = range(9)
DONE = 255
"""Rows that could be used, and were left out because earlier runs have solved them: see tasks/planning/skip_done.py."""
REASONS = {
    NULL: "problem is null",
    EMPTY: "problem is empty",
    NOT_TEXT: "problem, problem_id, answer or choices is not UTF-8 text",
    DUPLICATE: "problem_id (or the problem, where there is no id) is that of an earlier row",
    TOO_LONG: "the prompt is longer than the models take",
    BAD_PREFIX: "a step of the prefix is null, empty or not UTF-8 text",
    NO_OPTION: "answer is not the place of one of its choices, which input.answers says it is",
    TOO_LARGE: "the row holds more than 512 MiB, or a list of more than four million values",
}
LONGEST = 4 << 20
"""Bytes of a prompt that are looked into; no model's window holds as much."""
OPTION = 64
"""Bytes that count for an option or a step beside its text."""
LARGEST = 512 << 20
"""Bytes of a row, all columns together."""
MOST_VALUES = 4_000_000
"""Values of a list."""
REMEMBERED = 1000
"""Characters from which on a prompt's verdict is remembered, and how many of them are."""

TooLong = Callable[[list[dict[str, Any]]], list[bool]]
"""Given rows as dicts (problem, choices, prefix), says which make too long a prompt."""


class MayBePlace(Exception):
    """An answer that may be the place of an option, with its row in the batch."""

    def __init__(self, row: int, answer: str) -> None:
        super().__init__(answer)
        self.row, self.answer = row, answer


class RowVerdicts:
    """What is said of rows."""

    def __init__(self, too_long: TooLong, prefix: str | None = None, answers: Answers | None = None) -> None:
        self.too_long, self.prefix, self.answers = too_long, prefix, answers
        self.looked_into = 0
        """Bytes of prompts, of those that are alike once a batch."""
        self.known: dict[str, bool] = {}
        """Long prompts, by their ids, to whether they are too long."""

    def __call__(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Verdicts (uint8) of a batch, duplicates apart, hashes (uint64) of its ids, and bytes (int64) of its rows.
        Raises MayBePlace."""
        values = np.max([values_of(column) for column in batch.columns], axis=0)
        if (fits := values <= MOST_VALUES).all():
            return self._judge(batch)
        found = np.full(len(batch), TOO_LARGE, np.uint8), np.zeros(len(batch), np.uint64), values
        try:
            of_others = self._judge(batch.filter(pa.array(fits)))
        except MayBePlace as error:
            raise MayBePlace(int(np.flatnonzero(fits)[error.row]), error.answer) from None
        for every, some in zip(found, of_others, strict=True):
            every[fits] = some
        return found

    def _judge(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        prompts, of = distinct(batch, self._of_prompt(batch))
        few, numbers = distinct(batch, ["problem_id"]) if "problem_id" in batch.schema.names else (None, None)
        given = [None] if few is None else _given(few.column("problem_id"))
        identified = None not in given
        found, made = self._prompts(prompts, identified)
        verdicts = found[of]
        hashed = np.zeros(0, np.uint64) if identified else _hashes(made)[of]
        if few is not None:
            there = identified or np.array([text is not None for text in given], bool)[numbers]
            hashed = np.where(there, _hashes(given)[numbers], 0 if identified else hashed)
        for name in ("problem_id", "answer"):
            if name in batch.schema.names:
                verdicts[_not_text(batch, name)] = NOT_TEXT
        if "answer" in batch.schema.names and "choices" in batch.schema.names:
            verdicts[(verdicts == USABLE) & self._no_options(batch)] = NO_OPTION
        rows = sum((sizes(column) for column in batch.columns), start=np.zeros(len(batch), np.int64))
        verdicts[(verdicts == USABLE) & (rows > LARGEST)] = TOO_LARGE
        return verdicts, hashed, rows

    def ids(self, batch: pa.RecordBatch, rows: np.ndarray) -> list[bytes]:
        """Of some usable rows of a batch what stands for their ids: equal where those are."""
        some = batch.take(pa.array(rows))
        given: list[bytes | None] = [None] * len(some)
        if "problem_id" in some.schema.names:
            few, of = distinct(some, ["problem_id"])
            digests = [None if text is None else _digest(text) for text in _given(few.column("problem_id"))]
            given = [digests[number] for number in of]
        if None not in given:
            return [digest for digest in given if digest is not None]
        prompts, of = distinct(some, self._of_prompt(some))
        made = [_digest(_id(*row)) for row in zip(*self._columns(prompts), strict=True)]
        return [digest or made[number] for digest, number in zip(given, of, strict=True)]

    def _of_prompt(self, batch: pa.RecordBatch) -> list[str]:
        wanted = ("problem", "choices", *([] if self.prefix is None else [self.prefix]))
        return [name for name in wanted if name in batch.schema.names]

    def _prompts(self, prompts: pa.RecordBatch, identified: bool) -> tuple[np.ndarray, list[str]]:
        """Verdict and id of each distinct prompt; no ids where all rows are `identified`."""
        size = sum((sizes(column, OPTION) for column in prompts.columns), start=np.zeros(len(prompts), np.int64))
        light = size <= LONGEST
        self.looked_into += int(size[light].sum())
        verdicts = np.where(light, USABLE, TOO_LONG).astype(np.uint8)
        some = prompts if light.all() else prompts.filter(pa.array(light))
        problems, choices, begun = self._columns(some)
        found = np.array(
            [USABLE if isinstance(problem, str) and problem.strip() else _unusable(problem) for problem in problems],
            np.uint8,
        )
        if "choices" in prompts.schema.names:
            found[[isinstance(options, UnicodeDecodeError) for options in choices]] = NOT_TEXT
        if self.prefix is not None:
            found[(found == USABLE) & np.array([_bad_steps(steps) for steps in begun], bool)] = BAD_PREFIX
        rows = [
            {"problem": problem, "choices": options, "prefix": steps}
            for problem, options, steps in zip(problems, choices, begun, strict=True)
        ]
        usable = np.flatnonzero(found == USABLE)
        long = self._too_long(rows if len(usable) == len(rows) else [rows[i] for i in usable.tolist()])
        found[usable[np.array(long, bool)]] = TOO_LONG
        verdicts[light] = found
        if identified:
            return verdicts, [""] * len(prompts)
        ids = iter([_id(*row) for row in zip(problems, choices, begun, strict=True)])
        return verdicts, [next(ids) if is_light else "" for is_light in light]

    def _too_long(self, rows: list[dict[str, Any]]) -> list[bool]:
        """Which make too long a prompt; those that dictionaries of several row groups have are looked at once."""
        ids = {i: stable_id(*row.values()) for i, row in enumerate(rows) if len(row["problem"]) >= REMEMBERED}
        seen = {i: self.known[problem_id] for i, problem_id in ids.items() if problem_id in self.known}
        found = self.too_long([row for i, row in enumerate(rows) if i not in seen] if seen else rows)
        if seen:
            asked = iter(found)
            found = [seen[i] if i in seen else next(asked) for i in range(len(rows))]
        if len(self.known) > REMEMBERED:
            self.known.clear()
        self.known |= {problem_id: found[i] for i, problem_id in ids.items()}
        return found

    def _columns(self, prompts: pa.RecordBatch) -> tuple[list[Any], list[Any], list[Any]]:
        """Problems, choices and prefixes; those that are not UTF-8 as errors."""
        names = prompts.schema.names
        none = [None] * len(prompts)
        choices = text_lists(prompts.column("choices")) if "choices" in names else none
        begun = none if self.prefix is None else text_lists(prompts.column(self.prefix))
        return texts(prompts.column("problem")), choices, begun

    def _no_options(self, batch: pa.RecordBatch) -> np.ndarray:
        """Rows whose answer is no place of an option and should be one. Raises MayBePlace."""
        if self.answers == "text":
            return np.zeros(len(batch), bool)
        few, of = distinct(batch, ["answer", "choices"])
        found = np.zeros(len(few), bool)
        rows = zip(texts(few.column("answer")), text_lists(few.column("choices")), strict=True)
        for i, (answer, choices) in enumerate(rows):
            if not isinstance(answer, str) or not isinstance(choices, list) or not choices:
                continue
            if self.answers is None and may_be_place(answer, len(choices)):
                raise MayBePlace(int(np.flatnonzero(of == i)[0]), answer)
            found[i] = says_no_place(answer, ["" if c is None else c for c in choices], self.answers)
        return found[of]


def ids_of(batch: pa.RecordBatch, prefix: str | None) -> list[str]:
    """Each row's id: its problem_id, or a hash of its problem where that is null or empty; "" for unusable text."""
    rows = RowVerdicts(lambda prompts: [], prefix)
    given: list[str | None] = [None] * len(batch)
    if "problem_id" in batch.schema.names:
        few, of = distinct(batch, ["problem_id"])
        found = _given(few.column("problem_id"))
        given = [found[number] for number in of]
    prompts, of = distinct(batch, rows._of_prompt(batch))
    made = [_id(*row) for row in zip(*rows._columns(prompts), strict=True)]
    return [problem_id or made[number] for problem_id, number in zip(given, of, strict=True)]


def _given(column: pa.Array) -> list[str | None]:
    """Ids that rows have."""
    return [text if text and isinstance(text, str) else None for text in texts(column)]


def _hashes(ids: list[Any]) -> np.ndarray:
    return pl.Series(ids, dtype=pl.String).hash().to_numpy()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _not_text(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """bool [rows]: is a text not UTF-8?"""
    few, of = distinct(batch, [name])
    try:
        few.column(name).validate(full=True)
        return np.zeros(len(batch), bool)
    except pa.ArrowInvalid:
        return np.array([isinstance(text, UnicodeDecodeError) for text in texts(few.column(name))], bool)[of]


def _bad_steps(steps: list[str | None] | UnicodeDecodeError | None) -> bool:
    return isinstance(steps, UnicodeDecodeError) or not all(steps or [])


def _unusable(problem: str | UnicodeDecodeError | None) -> int:
    """Why a problem is none."""
    if problem is None:
        return NULL
    return NOT_TEXT if isinstance(problem, UnicodeDecodeError) else EMPTY


def _id(problem: Any, choices: Any, begun: Any) -> str:
    """The id of a prompt without one; "" where its texts are none."""
    if not isinstance(problem, str) or any(isinstance(other, UnicodeDecodeError) for other in (choices, begun)):
        return ""
    return stable_id(problem, choices, begun)


def stable_id(problem: str, choices: list[str | None] | None = None, prefix: list[str | None] | None = None) -> str:
    """The id of a problem that has none: the same wherever and whenever it is read."""
    text = problem if not choices else json.dumps([problem, choices])
    text = text if not prefix else json.dumps([text, prefix])
    return "p" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]
