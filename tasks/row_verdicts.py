"""Which rows of a problem set can be used. What a dictionary repeats is looked at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.config import Answers
from tasks.cells import text_lists, texts
from tasks.option_answers import may_be_place, says_no_place
from tasks.row_sizes import distinct, sizes

USABLE, NULL, EMPTY, NOT_TEXT, DUPLICATE, TOO_LONG, BAD_PREFIX, NO_OPTION, TOO_LARGE = range(9)
REASONS = {
    NULL: "problem is null",
    EMPTY: "problem is empty",
    NOT_TEXT: "problem, problem_id, answer or choices is not UTF-8 text",
    DUPLICATE: "problem_id (or the problem, where there is no id) is that of an earlier row",
    TOO_LONG: "the prompt is longer than the models take",
    BAD_PREFIX: "a step of the prefix is null, empty or not UTF-8 text",
    NO_OPTION: "answer is not the place of one of its choices, which input.answers says it is",
    TOO_LARGE: "the row holds more than 512 MiB",
}
LONGEST = 16 << 20
"""Bytes of a prompt's texts that are looked into; no model's window holds as much."""
LARGEST = 512 << 20
"""Bytes of a row, all columns together."""
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
        self.known: dict[str, bool] = {}
        """Long prompts, by their ids, to whether they are too long."""

    def __call__(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Verdicts (uint8) of a batch, duplicates apart, and hashes (uint64) of its ids. Raises MayBePlace."""
        prompts, of = distinct(batch, self._of_prompt(batch))
        found, ids = self._prompts(prompts)
        verdicts = found[of]
        for name in ("problem_id", "answer"):
            if name in batch.schema.names:
                verdicts[_per_row(batch, name, lambda text: isinstance(text, UnicodeDecodeError))] = NOT_TEXT
        if "answer" in batch.schema.names and "choices" in batch.schema.names:
            verdicts[(verdicts == USABLE) & self._no_options(batch)] = NO_OPTION
        rows = sum((sizes(column) for column in batch.columns), start=np.zeros(len(batch), np.int64))
        verdicts[(verdicts == USABLE) & (rows > LARGEST)] = TOO_LARGE
        return verdicts, self._hashes(batch, ids, of)

    def ids(self, batch: pa.RecordBatch, rows: np.ndarray) -> list[str]:
        """Ids of some usable rows of a batch."""
        few = batch.take(pa.array(rows))
        prompts, of = distinct(few, self._of_prompt(few))
        given = texts(few.column("problem_id")) if "problem_id" in few.schema.names else [None] * len(few)
        made = self._ids(prompts, ~_light(prompts))
        return [made[n] if not i or isinstance(i, UnicodeDecodeError) else i for i, n in zip(given, of, strict=True)]

    def _of_prompt(self, batch: pa.RecordBatch) -> list[str]:
        wanted = ("problem", "choices", *([] if self.prefix is None else [self.prefix]))
        return [name for name in wanted if name in batch.schema.names]

    def _prompts(self, prompts: pa.RecordBatch) -> tuple[np.ndarray, list[str]]:
        """Verdict and id of each distinct prompt."""
        light = _light(prompts)
        verdicts = np.where(light, USABLE, TOO_LONG).astype(np.uint8)
        some = prompts if light.all() else prompts.filter(pa.array(light))
        problems, choices, begun = self._columns(some)
        found = np.array([_verdict(problem) for problem in problems], np.uint8)
        found[[isinstance(options, UnicodeDecodeError) for options in choices]] = NOT_TEXT
        found[(found == USABLE) & np.array([_bad_steps(steps) for steps in begun], bool)] = BAD_PREFIX
        ids = [_id(*row) for row in zip(problems, choices, begun, strict=True)]
        usable = np.flatnonzero(found == USABLE).tolist()
        open_ones = [i for i in usable if len(problems[i]) < REMEMBERED or ids[i] not in self.known]
        rows = [{"problem": problems[i], "choices": choices[i], "prefix": begun[i]} for i in open_ones]
        for i, long in zip(open_ones, self.too_long(rows), strict=True):
            if long:
                found[i] = TOO_LONG
            if len(problems[i]) >= REMEMBERED and len(self.known) < REMEMBERED:
                self.known[ids[i]] = long
        for i in set(usable).difference(open_ones):
            found[i] = TOO_LONG if self.known[ids[i]] else USABLE
        verdicts[light] = found
        every = iter(ids)
        return verdicts, [next(every) if is_light else "" for is_light in light]

    def _ids(self, prompts: pa.RecordBatch, left_out: np.ndarray) -> list[str]:
        some = prompts.filter(pa.array(~left_out))
        made = iter([_id(*row) for row in zip(*self._columns(some), strict=True)])
        return ["" if out else next(made) for out in left_out]

    def _columns(self, prompts: pa.RecordBatch) -> tuple[list[Any], list[Any], list[Any]]:
        """Problems, choices and prefixes; those that are not UTF-8 as errors."""
        names = prompts.schema.names
        none = [None] * len(prompts)
        choices = text_lists(prompts.column("choices")) if "choices" in names else none
        begun = none if self.prefix is None else text_lists(prompts.column(self.prefix))
        return texts(prompts.column("problem")), choices, begun

    def _hashes(self, batch: pa.RecordBatch, ids: Sequence[str], of: np.ndarray) -> np.ndarray:
        made = pl.Series(ids, dtype=pl.String).hash().to_numpy()[of]
        if "problem_id" not in batch.schema.names:
            return made
        few, numbers = distinct(batch, ["problem_id"])
        given = [None if isinstance(i, UnicodeDecodeError) else i or None for i in texts(few.column("problem_id"))]
        there = np.array([i is not None for i in given], bool)[numbers]
        return np.where(there, pl.Series(given, dtype=pl.String).hash().to_numpy()[numbers], made)

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


def _light(prompts: pa.RecordBatch) -> np.ndarray:
    """Prompts that are looked into: bool."""
    size = sum((sizes(column) for column in prompts.columns), start=np.zeros(len(prompts), np.int64))
    return size <= LONGEST


def _per_row(batch: pa.RecordBatch, name: str, holds: Callable[[Any], bool]) -> np.ndarray:
    few, of = distinct(batch, [name])
    return np.array([holds(text) for text in texts(few.column(name))], bool)[of]


def _bad_steps(steps: list[str | None] | UnicodeDecodeError | None) -> bool:
    return isinstance(steps, UnicodeDecodeError) or not all(steps or [])


def _verdict(problem: str | UnicodeDecodeError | None) -> int:
    if problem is None:
        return NULL
    if isinstance(problem, UnicodeDecodeError):
        return NOT_TEXT
    return USABLE if problem.strip() else EMPTY


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
