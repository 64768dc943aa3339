"""A first pass over a problem set: which rows can be used.

Reads the columns it must, and remembers a few bytes a row, so that a set of any size fits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from schemas.config import InputConfig
from tasks.errors import UserError
from tasks.problems.files import folder_values, list_files
from tasks.problems.parquet.problem_file import OURS, ProblemFile, check_prefix, check_size, open_parquet, walk
from tasks.problems.snapshot import InputFile, digest, open_listed
from tasks.problems.usability import DONE, DUPLICATE, REASONS, USABLE, MayBePlace, RowVerdicts, TooLong
from tasks.storage.inputs import version
from tasks.storage.stores import Stores

ID_COLUMNS = ("problem", "problem_id", "choices")
MOST_OF_SHARD = 1 << 30
"""Bytes of a shard's rows."""
AT_ONCE = 1024
"""Shards that are added up together."""


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
    config: InputConfig
    """What it was made for."""
    weights: np.ndarray | None = field(default=None, repr=False)
    """uint8 [rows]: bytes of each row as `weight` has them; None where nobody asks any more."""
    longest: Longest | None = None
    """None where that was not asked."""
    shadowed: tuple[str, ...] = ()
    """Columns of files that their folders are called by too. None are known of a survey that was kept."""

    @property
    def usable(self) -> int:
        """Number of rows that can be used."""
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
        weights = None if self.weights is None else self.weights[:rows]
        return replace(self, files=files, rows=min(rows, self.rows), verdicts=self.verdicts[:rows], weights=weights)

    def check_shards(self, size: int) -> None:
        """Raises UserError where a shard of so many rows would hold more than a process should have of it at once."""
        if self.weights is None or not self.rows:
            return
        bytes_of = np.where(np.arange(256) > 0, 2.0 ** (np.arange(256) / 8), 0)
        starts = np.arange(0, self.rows, size)
        for first in range(0, len(starts), AT_ONCE):
            some = slice(first * size, (first + AT_ONCE) * size)
            held = np.where(self.verdicts[some] == USABLE, bytes_of[self.weights[some]], 0)
            of = np.add.reduceat(held, starts[first : first + AT_ONCE] - first * size)
            if of.max() > MOST_OF_SHARD and size > 1:
                shard = first + int(of.argmax())
                fewer = max(1, int(size * MOST_OF_SHARD / of.max()))
                raise UserError(
                    f"input.path: rows {shard * size:,} to {min((shard + 1) * size, self.rows) - 1:,}, a shard, hold "
                    f"about {int(of.max()) >> 20:,} MiB with all their columns; leave out large ones, or give a "
                    f"run.shard_size of {fewer:,}"
                )

    def rejected(self) -> dict[str, int]:
        """Reason to number of rows."""
        counts = np.bincount(self.verdicts, minlength=len(REASONS) + 1)
        return {reason: int(counts[code]) for code, reason in REASONS.items() if counts[code]}

    @property
    def content(self) -> str:
        """Changes with any byte of the input, and with what its folders say."""
        return self._digest([])

    @property
    def fingerprint(self) -> str:
        """Changes with `content`, and with which rows are left out as done."""
        done = self.verdicts == DONE
        return self._digest([hashlib.sha256(np.packbits(done).tobytes()).hexdigest()] if done.any() else [])

    def _digest(self, more: list[str]) -> str:
        parts = [f.sha256 for f in self.files] + [str(self.rows)]
        if any(f.folders for f in self.files):
            parts.append(json.dumps([f.folders for f in self.files]))
        parts += more
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def survey(config: InputConfig, stores: Stores, too_long: TooLong) -> Survey:
    """Look at every row once, and again at those whose ids may repeat."""
    files: list[InputFile] = []
    verdicts, hashed, weights = np.zeros(0, np.uint8), np.zeros(0, np.uint64), np.zeros(0, np.uint8)
    judge = RowVerdicts(too_long, config.prefix, config.answers)
    shadowed: set[str] = set()
    left = config.limit
    for path in list_files(config.path, stores):
        if left is not None and left <= 0:
            break
        with open_listed(path, stores) as f:
            before = version(f)
            pages = walk(f, path)
            sha256 = digest(f, path, pages.feed)
            parquet = open_parquet(f, path, pages.found())
            if config.prefix is not None:
                check_prefix(parquet, path, config.prefix)
            rows = parquet.metadata.num_rows if left is None else min(left, parquet.metadata.num_rows)
            files.append(InputFile(path, rows, sha256, before, parquet.layout))
            at, before_it = len(verdicts), judge.looked_into
            verdicts = np.concatenate([verdicts, np.zeros(rows, np.uint8)])
            hashed = np.concatenate([hashed, np.zeros(rows, np.uint64)])
            weights = np.concatenate([weights, np.zeros(rows, np.uint8)])
            # every column, for whatever a run will read must have been read before engines start
            for batch in files[-1].batches(f, parquet):
                here = slice(at, at + len(batch))
                try:
                    verdicts[here], hashed[here], size = judge(batch)
                    weights[here] = _weight(size)
                except MayBePlace as found:
                    raise _ask(path, at - len(verdicts) + rows + found.row, found.answer) from None
                check_size(parquet, path, judge.looked_into - before_it)
                at += len(batch)
            shadowed |= _check_folders(path, parquet)
            if left is not None:
                left -= rows
    said = folder_values([file.path for file in files])
    files = [replace(file, folders=values) for file, values in zip(files, said, strict=True)]
    survey = Survey(files, len(verdicts), verdicts, config, weights, shadowed=tuple(sorted(shadowed)))
    _mark_duplicates(survey, judge, hashed, stores)
    return survey


def _weight(size: np.ndarray) -> np.ndarray:
    """Bytes on a scale of eighths of a doubling, rounded up: uint8."""
    return np.ceil(8 * np.log2(np.maximum(size, 1))).clip(0, 255).astype(np.uint8)


def _ask(path: str, row: int, answer: str) -> UserError:
    return UserError(
        f"{path}: row {row} has the answer {answer[:40]!r} beside choices, which may be an option's place or its text; "
        "say which by input.answers: index (the first is 0), number (the first is 1) or text (letters and options)"
    )


def _check_folders(path: str, parquet: ProblemFile) -> set[str]:
    """Columns that the file has and a folder is called by. Raises UserError where a folder's name would be a column
    that only files have."""
    names = set(folder_values([path])[0]) if parquet.metadata.num_rows else set()
    for name in names - set(parquet.names):
        if name in OURS:
            raise UserError(f"{path}: the folder {name}=... stands for a column that must be in the file; rename it")
    return names & set(parquet.names)


def _mark_duplicates(found: Survey, judge: RowVerdicts, hashed: np.ndarray, stores: Stores) -> None:
    """Mark usable rows whose id an earlier usable row has. Equal hashes are checked on the ids themselves."""
    usable = found.verdicts == USABLE
    order = hashed[usable]
    order.sort()
    suspects = np.unique(order[1:][order[1:] == order[:-1]])
    del order
    if not len(suspects):
        return
    rows = np.flatnonzero(usable & np.isin(hashed, suspects))
    prefix = () if found.config.prefix is None else (found.config.prefix,)
    seen: set[bytes] = set()
    start = 0
    for file in found.files:
        batch: pa.RecordBatch
        for batch in file.read_again(stores, (*ID_COLUMNS, *prefix)):
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
            for row, problem_id in zip(here, judge.ids(batch, here - start) if len(here) else [], strict=True):
                if problem_id in seen:
                    found.verdicts[row] = DUPLICATE
                seen.add(problem_id)
            start += len(batch)
