"""Problems, streamed from a surveyed problem set shard by shard."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from schemas.config import StorageConfig
from tasks.cells import records
from tasks.problem_files import TEXT_COLUMNS
from tasks.store import PATIENCE, Say
from tasks.survey import DONE, REASONS, USABLE, Survey, stable_id


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
    storage: StorageConfig,
    size: int,
    wanted: Callable[[int], bool],
    patience: float = PATIENCE,
    say: Say | None = None,
    listed: Collection[int] | None = None,
) -> Iterator[tuple[int, list[Problem], list[Rejected]]]:
    """Stream the wanted shards in order: number, usable problems, rejected rows. Shard k holds rows k*size and on.

    `patience`: seconds for which a store that fails is tried again; `say` is told. `listed`: no others are asked for or
    wanted; row groups without any of their rows are not read.
    """

    def asked(shard: int) -> bool:
        return (listed is None or shard in listed) and wanted(shard)

    problems: list[Problem] = []
    rejected: list[Rejected] = []
    for row, file, batch in _rows(found, storage, _Parts(listed, size), patience, say):
        at = 0
        while at < len(batch):
            shard = (row + at) // size
            stop = min(len(batch), (shard + 1) * size - row)
            if asked(shard):
                for number, record in enumerate(records(batch.slice(at, stop - at)), row + at):
                    verdict = int(found.verdicts[number])
                    if verdict == USABLE:
                        problems.append(_problem(record, found.prefix))
                    elif verdict != DONE:
                        rejected.append(_reject(record, number, file, verdict))
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


def _rows(
    found: Survey, storage: StorageConfig, parts: _Parts, patience: float, say: Say | None
) -> Iterator[tuple[int, str, pa.RecordBatch]]:
    """The surveyed rows once more, as far as they are wanted: number of a batch's first row, its file, the batch."""
    first = 0
    for file in found.files:
        wanted = partial(parts.wanted, first)
        if wanted(0, file.rows):
            for row, batch in file.read_parts(storage, wanted, patience=patience, say=say):
                yield first + row, file.path, batch
        first += file.rows


def _problem(record: dict[str, Any], prefix: str | None) -> Problem:
    text = record["problem"]
    choices = record.get("choices")
    begun = record[prefix] if prefix is not None else None
    others = {key: value for key, value in record.items() if key not in TEXT_COLUMNS}
    return Problem(
        problem_id=record.get("problem_id") or stable_id(text, choices, begun),
        text=text,
        reference=record.get("answer"),
        choices=["" if choice is None else choice for choice in choices] if choices else None,
        metadata=json.dumps(others, ensure_ascii=False) if others else None,
        prefix=begun or [],
    )


def _reject(record: dict[str, Any], row: int, file: str, verdict: int) -> Rejected:
    problem = record["problem"]
    return Rejected(row, file, record.get("problem_id"), REASONS[verdict], None if problem is None else problem[:200])
