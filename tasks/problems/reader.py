"""Problems, streamed from a surveyed problem set shard by shard."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.config import InputConfig
from tasks.problems.cells import beginning, records, texts
from tasks.problems.option_answers import chosen
from tasks.problems.parquet.problem_file import TEXT_COLUMNS
from tasks.problems.snapshot import InputFile
from tasks.problems.survey import Survey
from tasks.problems.usability import DONE, REASONS, USABLE, stable_id
from tasks.storage.stores import Stores

SHOWN = 200
"""Characters of a problem that a rejected row shows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A usable row."""

    problem_id: str
    text: str
    reference: str | None
    choices: list[str] | None
    metadata: str | None
    """The row's other columns as a JSON object."""
    prefix: list[str] = field(default_factory=list)
    """The steps that its solutions begin with, as the input has them."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used."""

    row: int
    file: str
    problem_id: str | None
    reason: str
    problem: str | None


def shards(
    found: Survey,
    stores: Stores,
    size: int,
    wanted: Callable[[int], bool],
    listed: Collection[int] | None = None,
) -> Iterator[tuple[int, list[Problem], list[Rejected]]]:
    """Stream the wanted shards in order: number, usable problems, rejected rows. Shard k holds rows k*size and on.

    `listed`: no others are asked for or wanted; row groups without any of their rows are not read.
    """

    def asked(shard: int) -> bool:
        return (listed is None or shard in listed) and wanted(shard)

    problems: list[Problem] = []
    rejected: list[Rejected] = []
    for row, file, batch in _rows(found, stores, _Parts(listed, size)):
        at = 0
        while at < len(batch):
            shard = (row + at) // size
            stop = min(len(batch), (shard + 1) * size - row)
            if asked(shard):
                part, verdicts = batch.slice(at, stop - at), found.verdicts[row + at : row + stop]
                problems += _problems(part.filter(pa.array(verdicts == USABLE)), file, found.config)
                rejected += _rejected(part, row + at, file, verdicts)
            at = stop
            if (row + at) % size == 0 or row + at == found.rows:
                if asked(shard):
                    yield shard, problems, rejected
                problems, rejected = [], []


class _Parts:
    """Which rows hold any of the listed shards."""

    def __init__(self, listed: Collection[int] | None, size: int) -> None:
        self.listed = None if listed is None else sorted(listed)
        self.size = size

    def wanted(self, first: int, start: int, stop: int) -> bool:
        """Is any row from `start` to before `stop` of a file whose first row is the input's row `first`?"""
        if self.listed is None:
            return True
        at = bisect_left(self.listed, (first + start) // self.size)
        return at < len(self.listed) and self.listed[at] * self.size < first + stop


def _rows(found: Survey, stores: Stores, parts: _Parts) -> Iterator[tuple[int, InputFile, pa.RecordBatch]]:
    """The surveyed rows once more, as far as they are wanted: number of a batch's first row, its file, the batch."""
    first = 0
    for file in found.files:
        wanted = partial(parts.wanted, first)
        if wanted(0, file.rows):
            for row, batch in file.read_parts(stores, wanted):
                yield first + row, file, batch
        first += file.rows


def _problems(batch: pa.RecordBatch, file: InputFile, config: InputConfig) -> list[Problem]:
    """Those of usable rows."""
    return [_problem(file.folders | record if file.folders else record, config) for record in records(batch)]


def _problem(record: dict[str, Any], config: InputConfig) -> Problem:
    text = record["problem"]
    choices = record.get("choices")
    begun = record[config.prefix] if config.prefix is not None else None
    others = {key: value for key, value in record.items() if key not in TEXT_COLUMNS}
    options = ["" if choice is None else choice for choice in choices] if choices else None
    return Problem(
        problem_id=record.get("problem_id") or stable_id(text, choices, begun),
        text=text,
        reference=chosen(record.get("answer"), options, config.answers),
        choices=options,
        metadata=json.dumps(others, ensure_ascii=False) if others else None,
        prefix=begun or [],
    )


def _rejected(batch: pa.RecordBatch, first: int, file: InputFile, verdicts: np.ndarray) -> Iterator[Rejected]:
    """The rows that cannot be used, of a batch whose first row is the input's row `first`."""
    rows = np.flatnonzero((verdicts != USABLE) & (verdicts != DONE)).tolist()
    given: list[Any] = [None] * len(rows)
    if "problem_id" in batch.schema.names:
        given = texts(batch.column("problem_id").take(pa.array(rows, pa.int64())))
    for row, problem_id in zip(rows, given, strict=True):
        problem = beginning(batch.column("problem"), row, SHOWN)
        yield Rejected(first + row, file.path, _readable(problem_id), REASONS[int(verdicts[row])], problem)


def _readable(text: str | UnicodeDecodeError | None) -> str | None:
    return text.object.decode("utf-8", "replace") if isinstance(text, UnicodeDecodeError) else text
