"""Problems, streamed from a surveyed problem set shard by shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.config import StorageConfig
from tasks.cells import records
from tasks.problem_files import TEXT_COLUMNS
from tasks.store import PATIENCE, Say
from tasks.survey import REASONS, USABLE, Survey, stable_id


@dataclass(frozen=True, slots=True)
class Problem:
    """A usable row."""

    problem_id: str
    text: str
    reference: str | None
    choices: list[str] | None
    metadata: str | None
    """The row's other columns as a JSON object."""


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
) -> Iterator[tuple[int, list[Problem], list[Rejected]]]:
    """Stream the wanted shards in order: number, usable problems, rejected rows. Shard k holds rows k*size and on.

    `patience`: seconds for which a store that fails is tried again; `say` is told.
    """
    problems: list[Problem] = []
    rejected: list[Rejected] = []
    for row, file, batch in _rows(found, storage, patience, say):
        at = 0
        while at < len(batch):
            shard = (row + at) // size
            stop = min(len(batch), (shard + 1) * size - row)
            if wanted(shard):
                for number, record in enumerate(records(batch.slice(at, stop - at)), row + at):
                    verdict = int(found.verdicts[number])
                    if verdict == USABLE:
                        problems.append(_problem(record))
                    else:
                        rejected.append(_reject(record, number, file, verdict))
            at = stop
            if (row + at) % size == 0 or row + at == found.rows:
                if wanted(shard):
                    yield shard, problems, rejected
                problems, rejected = [], []


def _rows(
    found: Survey, storage: StorageConfig, patience: float, say: Say | None
) -> Iterator[tuple[int, str, pa.RecordBatch]]:
    """The surveyed rows once more: number of a batch's first row, its file, the batch."""
    row = 0
    for file in found.files:
        for batch in file.read_again(storage, patience=patience, say=say):
            yield row, file.path, batch
            row += len(batch)


def _problem(record: dict[str, Any]) -> Problem:
    text = record["problem"]
    choices = record.get("choices")
    others = {key: value for key, value in record.items() if key not in TEXT_COLUMNS}
    return Problem(
        problem_id=record.get("problem_id") or stable_id(text, choices),
        text=text,
        reference=record.get("answer"),
        choices=["" if choice is None else choice for choice in choices] if choices else None,
        metadata=json.dumps(others, ensure_ascii=False) if others else None,
    )


def _reject(record: dict[str, Any], row: int, file: str, verdict: int) -> Rejected:
    problem = record["problem"]
    return Rejected(row, file, record.get("problem_id"), REASONS[verdict], None if problem is None else problem[:200])
