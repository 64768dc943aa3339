"""Problem sets: Parquet in, problems out, shard by shard.

A first pass (`survey`) reads the columns it must and decides for every row whether it can be used; its memory is a
few bytes a row. `shards` then streams the rows themselves, a shard at a time.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import InputConfig, StorageConfig
from tasks.errors import UserError
from tasks.store import open_filesystem, open_input, told

BATCH = 4096
USABLE, NULL, EMPTY, DUPLICATE, TOO_LONG = range(5)
REASONS = {
    NULL: "problem is null",
    EMPTY: "problem is empty",
    DUPLICATE: "problem_id is that of an earlier row",
    TOO_LONG: "the prompt is longer than the models take",
}
OWN_COLUMNS = ("problem_id", "problem", "answer")


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


@dataclass(frozen=True)
class InputFile:
    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Survey:
    """What a first pass over the input found."""

    files: list[InputFile]
    rows: int
    """Rows taken: those of the files, or input.limit."""
    verdicts: np.ndarray = field(repr=False)
    """uint8 [rows]: USABLE, NULL, EMPTY, DUPLICATE or TOO_LONG."""

    @property
    def usable(self) -> int:
        return int((self.verdicts == USABLE).sum())

    def rejected(self) -> dict[str, int]:
        """Reason to number of rows."""
        counts = np.bincount(self.verdicts, minlength=5)
        return {reason: int(counts[code]) for code, reason in REASONS.items() if counts[code]}

    @property
    def fingerprint(self) -> str:
        """Changes with any byte of the input."""
        parts = [f.sha256 for f in self.files] + [str(self.rows)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def list_files(path: str, storage: StorageConfig) -> list[str]:
    """The Parquet files that a path names: itself, those in it, or those that match it; sorted."""
    fs, at = open_filesystem(path, storage)
    prefix = path[: path.index("://") + 3] if "://" in path else ""
    with told(path, missing_ok=True):
        if any(c in at for c in "*?["):
            found = [p for p in fs.glob(at) if p.endswith(".parquet")]
        elif fs.isdir(at):
            found = [p for p in fs.find(at) if p.endswith(".parquet") and not _hidden(p[len(at) :])]
            if not found:
                raise UserError(f"input.path: {path} is a directory without .parquet files")
        else:
            if not fs.exists(at):
                raise UserError(f"input.path: {path} does not exist")
            found = [at]
    if not found:
        raise UserError(f"input.path: no .parquet file matches {path}")
    return [prefix + p for p in sorted(found)]


def _hidden(rest: str) -> bool:
    return any(part.startswith((".", "_")) for part in rest.strip("/").split("/"))


def survey(
    config: InputConfig, storage: StorageConfig, too_long: Callable[[list[dict[str, Any]]], list[bool]]
) -> Survey:
    """Read every row's id and problem once.

    `too_long` is given rows as dicts (problem, choices) and says which make too long a prompt.
    """
    files: list[InputFile] = []
    verdicts, hashed = np.zeros(0, np.uint8), np.zeros(0, np.uint64)
    left = config.limit
    for path in list_files(config.path, storage):
        if left is not None and left <= 0:
            break
        with open_input(path, storage) as f:
            size, digest = _digest(f)
            parquet = _open_parquet(f, path)
            rows = parquet.metadata.num_rows if left is None else min(left, parquet.metadata.num_rows)
            files.append(InputFile(path, rows, size, digest))
            at = len(verdicts)
            verdicts = np.concatenate([verdicts, np.zeros(rows, np.uint8)])
            hashed = np.concatenate([hashed, np.zeros(rows, np.uint64)])
            for batch in _batches(parquet, path, rows, _survey_columns(parquet)):
                here = slice(at, at + len(batch))
                verdicts[here], hashed[here] = _judge(batch, too_long)
                at += len(batch)
            if left is not None:
                left -= rows
    found = Survey(files, len(verdicts), verdicts)
    _mark_duplicates(found, hashed, config, storage)
    return found


def _digest(f: IO[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := f.read(1 << 22):
        digest.update(block)
        size += len(block)
    f.seek(0)
    return size, digest.hexdigest()


def _open_parquet(f: IO[bytes], path: str) -> pq.ParquetFile:
    try:
        parquet = pq.ParquetFile(f, buffer_size=1 << 20, pre_buffer=False)
        schema = parquet.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a whole Parquet file ({_first_line(error)})") from error
    if "problem" not in schema.names:
        near = ", ".join(schema.names[:12])
        raise UserError(f"{path}: column 'problem' is missing; the file has {near or 'no columns'}")
    if len(set(schema.names)) < len(schema.names):
        raise UserError(f"{path}: a column name occurs twice")
    for name in OWN_COLUMNS:
        if name in schema.names and not _is_text(kind := schema.field(name).type):
            raise UserError(f"{path}: column '{name}' is {kind}, but must be string")
    if "choices" in schema.names:
        kind = schema.field("choices").type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_null(kind)
        if not is_list or (not pa.types.is_null(kind) and not _is_text(kind.value_type)):
            raise UserError(f"{path}: column 'choices' is {kind}, but must be list of string")
    return parquet


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in checks)


def _survey_columns(parquet: pq.ParquetFile) -> list[str]:
    return [name for name in ("problem", "problem_id", "choices") if name in parquet.schema_arrow.names]


def _batches(parquet: pq.ParquetFile, path: str, rows: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """The first `rows` rows, in batches."""
    left = rows
    try:
        for batch in parquet.iter_batches(BATCH, columns=columns, use_threads=False):
            if left <= 0:
                return
            yield batch.slice(0, left)
            left -= len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: row {rows - left} and after cannot be read ({_first_line(error)})") from error


def _judge(
    batch: pa.RecordBatch, too_long: Callable[[list[dict[str, Any]]], list[bool]]
) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts (uint8) of a batch, duplicates apart, and hashes (uint64) of its ids."""
    problems = batch.column("problem").to_pylist()
    verdicts = np.zeros(len(problems), np.uint8)
    for i, problem in enumerate(problems):
        if problem is None:
            verdicts[i] = NULL
        elif not problem.strip():
            verdicts[i] = EMPTY
    choices = batch.column("choices").to_pylist() if "choices" in batch.schema.names else [None] * len(problems)
    usable = np.flatnonzero(verdicts == USABLE)
    long = too_long([{"problem": problems[i], "choices": choices[i]} for i in usable])
    verdicts[usable[np.array(long, bool)]] = TOO_LONG
    return verdicts, pl.Series(_ids(batch, problems), dtype=pl.String).hash().to_numpy()


def _ids(batch: pa.RecordBatch, problems: list[str | None]) -> list[str | None]:
    """Each row's id: its problem_id, or a hash of its problem where that is null or empty."""
    given = batch.column("problem_id").to_pylist() if "problem_id" in batch.schema.names else [None] * len(problems)
    return [i or (stable_id(p) if p is not None else None) for i, p in zip(given, problems, strict=True)]


def stable_id(problem: str) -> str:
    """The id of a problem that has none: the same wherever and whenever it is read."""
    return "p" + hashlib.sha256(problem.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _mark_duplicates(found: Survey, hashed: np.ndarray, config: InputConfig, storage: StorageConfig) -> None:
    """Mark usable rows whose id an earlier usable row has. Equal hashes are checked on the ids themselves."""
    usable = found.verdicts == USABLE
    order = hashed[usable]
    order.sort()
    suspects = np.unique(order[1:][order[1:] == order[:-1]])
    del order
    if not len(suspects):
        return
    suspect_rows = np.flatnonzero(usable & np.isin(hashed, suspects))
    seen: set[str] = set()
    start = 0
    for batch in _rows(found, storage, ["problem", "problem_id"]):
        here = suspect_rows[np.searchsorted(suspect_rows, start) : np.searchsorted(suspect_rows, start + len(batch))]
        if len(here):
            ids = _ids(batch, batch.column("problem").to_pylist())
            for row in here:
                problem_id = ids[row - start]
                assert problem_id is not None
                if problem_id in seen:
                    found.verdicts[row] = DUPLICATE
                seen.add(problem_id)
        start += len(batch)


def _rows(found: Survey, storage: StorageConfig, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The surveyed rows once more, in order."""
    for file in found.files:
        with open_input(file.path, storage) as f:
            parquet = _open_parquet(f, file.path)
            names = parquet.schema_arrow.names
            wanted = None if columns is None else [name for name in columns if name in names]
            yield from _batches(parquet, file.path, file.rows, wanted)


def shards(
    found: Survey, storage: StorageConfig, size: int, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, list[Problem], list[Rejected]]]:
    """Stream the wanted shards in order: number, usable problems, rejected rows. Shard k holds rows k*size and on."""
    names = [file.path for file in found.files for _ in (0,)]
    ends = np.cumsum([file.rows for file in found.files]) if found.files else np.zeros(0, int)
    problems: list[Problem] = []
    rejected: list[Rejected] = []
    row = 0
    for batch in _rows(found, storage):
        at = 0
        while at < len(batch):
            shard = row // size
            take = min(len(batch) - at, (shard + 1) * size - row)
            if wanted(shard):
                for offset, record in enumerate(batch.slice(at, take).to_pylist()):
                    number = row + offset
                    verdict = int(found.verdicts[number])
                    if verdict == USABLE:
                        problems.append(_problem(record))
                    else:
                        file = names[int(np.searchsorted(ends, number, side="right"))]
                        rejected.append(_reject(record, number, file, REASONS[verdict]))
            at, row = at + take, row + take
            if row % size == 0 or row == found.rows:
                if wanted(shard):
                    yield shard, problems, rejected
                problems, rejected = [], []


def _problem(record: dict[str, Any]) -> Problem:
    text = record["problem"]
    choices = record.get("choices")
    others = {key: _plain(value) for key, value in record.items() if key not in OWN_COLUMNS}
    return Problem(
        problem_id=record.get("problem_id") or stable_id(text),
        text=text,
        reference=record.get("answer"),
        choices=[choice for choice in choices if choice is not None] if choices else None,
        metadata=json.dumps(others, ensure_ascii=False) if others else None,
    )


def _reject(record: dict[str, Any], row: int, file: str, reason: str) -> Rejected:
    problem = record["problem"]
    return Rejected(row, file, record.get("problem_id"), reason, None if problem is None else problem[:200])


def _plain(value: Any) -> Any:
    """A cell as JSON has it: dates in ISO form, bytes in base64, numbers JSON lacks as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta | decimal.Decimal):
        return str(value)
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
