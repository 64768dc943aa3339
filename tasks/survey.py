"""A first pass over a problem set: which rows can be used.

Reads the columns it must, and remembers a few bytes a row, so that a set of any size fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.config import InputConfig, StorageConfig
from tasks.cells import cells, texts
from tasks.input_file import version
from tasks.problem_files import check_prefix, list_files, open_parquet
from tasks.store import PATIENCE, Say
from tasks.surveyed_file import InputFile, digest, open_listed

USABLE, NULL, EMPTY, NOT_TEXT, DUPLICATE, TOO_LONG, BAD_PREFIX = range(7)
DONE = 255
"""Of rows that could be used, and were left out as earlier runs have solved them: see skipping.py."""
REASONS = {
    NULL: "problem is null",
    EMPTY: "problem is empty",
    NOT_TEXT: "problem, problem_id, answer or choices is not UTF-8 text",
    DUPLICATE: "problem_id (or the problem, where there is no id) is that of an earlier row",
    TOO_LONG: "the prompt is longer than the models take",
    BAD_PREFIX: "a step of the prefix is null, empty or not UTF-8 text",
}
ID_COLUMNS = ("problem", "problem_id", "choices")
READ = ("problem", "problem_id", "answer", "choices")

TooLong = Callable[[list[dict[str, Any]]], list[bool]]
"""Given rows as dicts (problem, choices, prefix), says which make too long a prompt."""


@dataclass(frozen=True)
class Longest:
    """How long prompts can be: of no usable row are they longer."""

    bytes: int = 0
    """Of a user message and of the steps that its solutions begin with."""
    steps: int = 0
    """That they begin with."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Role to the tokens of the prompt that has most bytes, which is the longest, or nearly so."""


@dataclass(frozen=True)
class Survey:
    """What the pass found."""

    files: list[InputFile]
    rows: int
    """Rows taken: those of the files, or input.limit."""
    verdicts: np.ndarray = field(repr=False)
    """uint8 [rows]: USABLE, DONE, or why not."""
    prefix: str | None = None
    """`input.prefix`."""
    longest: Longest | None = None
    """None where that was not asked."""

    @property
    def usable(self) -> int:
        return int((self.verdicts == USABLE).sum())

    @property
    def skipped(self) -> int:
        """Rows that are left out as DONE."""
        return int((self.verdicts == DONE).sum())

    def without(self, rows: np.ndarray) -> Survey:
        """The same with the usable ones of these rows left out, and no others. `rows`: bool [rows]."""
        verdicts = np.where(self.verdicts == DONE, np.uint8(USABLE), self.verdicts)
        verdicts[rows & (verdicts == USABLE)] = DONE
        return replace(self, verdicts=verdicts)

    def first(self, rows: int) -> Survey:
        """What the pass would have found with `input.limit` so low."""
        files, left = [], rows
        for file in self.files:
            if left > 0:
                files.append(replace(file, rows=min(left, file.rows)))
            left -= file.rows
        return replace(self, files=files, rows=min(rows, self.rows), verdicts=self.verdicts[:rows])

    def rejected(self) -> dict[str, int]:
        """Reason to number of rows."""
        counts = np.bincount(self.verdicts, minlength=len(REASONS) + 1)
        return {reason: int(counts[code]) for code, reason in REASONS.items() if counts[code]}

    @property
    def content(self) -> str:
        """Changes with any byte of the input."""
        return self._digest([])

    @property
    def fingerprint(self) -> str:
        """Changes with any byte of the input, and with which rows are left out as done."""
        done = self.verdicts == DONE
        return self._digest([hashlib.sha256(np.packbits(done).tobytes()).hexdigest()] if done.any() else [])

    def _digest(self, more: list[str]) -> str:
        parts = [f.sha256 for f in self.files] + [str(self.rows)] + more
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def survey(
    config: InputConfig,
    storage: StorageConfig,
    too_long: TooLong,
    patience: float = PATIENCE,
    say: Say | None = None,
) -> Survey:
    """Look at every row once, and again at those whose ids may repeat.

    `patience`: seconds for which a store that fails is tried again; `say` is told.
    """
    files: list[InputFile] = []
    verdicts, hashed = np.zeros(0, np.uint8), np.zeros(0, np.uint64)
    left = config.limit
    for path in list_files(config.path, storage, patience, say):
        if left is not None and left <= 0:
            break
        with open_listed(path, storage, patience, say) as f:
            before = version(f)
            sha256 = digest(f, path)
            parquet = open_parquet(f, path)
            if config.prefix is not None:
                check_prefix(parquet, path, config.prefix)
            rows = parquet.metadata.num_rows if left is None else min(left, parquet.metadata.num_rows)
            files.append(InputFile(path, rows, sha256, before))
            at = len(verdicts)
            verdicts = np.concatenate([verdicts, np.zeros(rows, np.uint8)])
            hashed = np.concatenate([hashed, np.zeros(rows, np.uint64)])
            for batch in files[-1].batches(f, parquet, (*READ, *_named(config.prefix))):
                here = slice(at, at + len(batch))
                verdicts[here], hashed[here] = _judge(batch, too_long, config.prefix)
                at += len(batch)
            if left is not None:
                left -= rows
    found = Survey(files, len(verdicts), verdicts, config.prefix)
    _mark_duplicates(found, hashed, storage, patience, say)
    return found


def _named(prefix: str | None) -> tuple[str, ...]:
    return () if prefix is None else (prefix,)


def _judge(batch: pa.RecordBatch, too_long: TooLong, prefix: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts (uint8) of a batch, duplicates apart, and hashes (uint64) of its ids."""
    problems = texts(batch.column("problem"))
    verdicts = np.array([_verdict(problem) for problem in problems], np.uint8)
    for name in ("problem_id", "answer"):
        if name in batch.schema.names:
            broken = [isinstance(text, UnicodeDecodeError) for text in texts(batch.column(name))]
            verdicts[np.array(broken, bool)] = NOT_TEXT
    choices = cells(batch.column("choices")) if "choices" in batch.schema.names else [None] * len(batch)
    verdicts[[isinstance(options, str) for options in choices]] = NOT_TEXT
    begun = [None] * len(batch) if prefix is None else cells(batch.column(prefix))
    verdicts[(verdicts == USABLE) & np.array([_broken(steps) for steps in begun], bool)] = BAD_PREFIX
    usable = np.flatnonzero(verdicts == USABLE)
    long = too_long([{"problem": problems[i], "choices": choices[i], "prefix": begun[i]} for i in usable])
    verdicts[usable[np.array(long, bool)]] = TOO_LONG
    return verdicts, pl.Series(ids_of(batch, prefix), dtype=pl.String).hash().to_numpy()


def _broken(steps: list[str | None] | str | None) -> bool:
    """Text in the place of a list stands for one that is not UTF-8."""
    return isinstance(steps, str) or not all(steps or [])


def _verdict(problem: str | UnicodeDecodeError | None) -> int:
    if problem is None:
        return NULL
    if isinstance(problem, UnicodeDecodeError):
        return NOT_TEXT
    return USABLE if problem.strip() else EMPTY


def stable_id(
    problem: str, choices: list[str | None] | None = None, prefix: list[str | None] | str | None = None
) -> str:
    """The id of a problem that has none: the same wherever and whenever it is read."""
    text = problem if not choices else json.dumps([problem, choices])
    text = text if not prefix else json.dumps([text, prefix])
    return "p" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def ids_of(batch: pa.RecordBatch, prefix: str | None) -> list[str]:
    """Each row's id: its problem_id, or a hash of its problem where that is null or empty; '' for unusable text."""
    problems = texts(batch.column("problem"))
    given = texts(batch.column("problem_id")) if "problem_id" in batch.schema.names else [None] * len(problems)
    choices = cells(batch.column("choices")) if "choices" in batch.schema.names else [None] * len(problems)
    begun = [None] * len(problems) if prefix is None else cells(batch.column(prefix))
    ids = (
        i or (stable_id(p, c, b) if isinstance(p, str) else "")
        for i, p, c, b in zip(given, problems, choices, begun, strict=True)
    )
    return ["" if isinstance(i, UnicodeDecodeError) else i for i in ids]


def _mark_duplicates(
    found: Survey, hashed: np.ndarray, storage: StorageConfig, patience: float, say: Say | None
) -> None:
    """Mark usable rows whose id an earlier usable row has. Equal hashes are checked on the ids themselves."""
    usable = found.verdicts == USABLE
    order = hashed[usable]
    order.sort()
    suspects = np.unique(order[1:][order[1:] == order[:-1]])
    del order
    if not len(suspects):
        return
    rows = np.flatnonzero(usable & np.isin(hashed, suspects))
    seen: set[str] = set()
    start = 0
    for file in found.files:
        for batch in file.read_again(storage, (*ID_COLUMNS, *_named(found.prefix)), patience, say):
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
            ids = ids_of(batch, found.prefix) if len(here) else []
            for row in here:
                if ids[row - start] in seen:
                    found.verdicts[row] = DUPLICATE
                seen.add(ids[row - start])
            start += len(batch)
