"""Problem sets as files: finding them, opening them, streaming their rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from schemas.config import StorageConfig
from tasks.errors import UserError
from tasks.store import PATIENCE, Say, locate
from tasks.store_files import InputFiles

BATCH = 4096
"""Rows of a batch."""
BATCH_BYTES = 64 << 20
"""Bytes of a batch that has more than a few rows."""
READ_AT_ONCE = 64
"""Rows decoded at once: a file of some kilobytes can hold one long text in each of a million rows."""
TEXT_COLUMNS = ("problem_id", "problem", "answer")


def list_files(
    path: str,
    storage: StorageConfig,
    patience: float = PATIENCE,
    say: Say | None = None,
    *,
    field: str = "input.path",
) -> list[str]:
    """The Parquet files that a path names: itself, those in it, or those that match it; sorted.

    `patience`: seconds for which a store that fails is tried again; `say` is told. `field`: where the configuration
    names the path, for mistakes.
    """
    try:
        files, at = locate(path, storage, patience, say)
        found = [files.path(key) for key in sorted(_keys(files, at, path))]
        for name in found:
            if any("\ud800" <= c <= "\udfff" for c in name):
                raise UserError(f"{name}: its name is not UTF-8 text")
        return found
    except UserError as error:
        raise UserError(f"{field}: {error}") from None


def _keys(files: InputFiles, at: str, path: str) -> list[str]:
    try:
        if files.stat(at):
            return [at]
    except IsADirectoryError:
        found = [key for key in files.stats(at) if key.endswith(".parquet") and not _hidden(key[len(at) :])]
        if not found:
            raise UserError(f"{path} is a directory without .parquet files") from None
        return found
    if not any(c in at for c in "*?["):
        raise UserError(f"{path} does not exist")
    if any("**" in part and part != "**" for part in at.split("/")):
        raise UserError(f"{path}: ** stands for whole folders only, as in a/**/b.parquet")
    found = [key for key in matching(files, at) if key.endswith(".parquet")]
    if not found:
        raise UserError(f"no .parquet file matches {path}")
    return found


def matching(files: InputFiles, pattern: str) -> list[str]:
    """Keys of the files that match: * ? [] within a name, ** for folders of any depth."""
    parts = pattern.split("/")
    start = next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))
    folders = ["/".join(parts[:start])]
    for i, part in enumerate(parts[start:], start):
        if part == "**":
            matches = re.compile(glob_translate(pattern)).match
            return [key for folder in folders for key in files.stats(folder) if matches(key)]
        inside = [(folder, *files.children(folder)) for folder in folders]
        names = 1 if i == len(parts) - 1 else 2
        folders = [f"{found[0]}/{n}".lstrip("/") for found in inside for n in found[names] if fnmatchcase(n, part)]
    return folders


def _hidden(rest: str) -> bool:
    return any(part.startswith((".", "_")) for part in rest.strip("/").split("/"))


def open_parquet(f: IO[bytes], path: str) -> pq.ParquetFile:
    """A Parquet file with the columns of a problem set; UserError where it is none."""
    try:
        parquet = pq.ParquetFile(f, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        schema = parquet.schema_arrow
        names = schema.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole Parquet file ({_first_line(error)})") from error
    groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)]
    if min(groups, default=0) < 0 or parquet.metadata.num_rows != sum(groups):
        raise UserError(f"{path}: not a whole Parquet file (its footer contradicts itself about the number of rows)")
    if "problem" not in names:
        near = ", ".join(name[:40] for name in names[:12])
        raise UserError(f"{path}: column 'problem' is missing; the file has {near or 'no columns'}")
    if len(set(schema.names)) < len(schema.names):
        raise UserError(f"{path}: a column name occurs twice")
    for name in TEXT_COLUMNS:
        if name in schema.names and not _is_text(kind := schema.field(name).type):
            raise UserError(f"{path}: column '{name}' is {str(kind)[:60]}, but must be string")
    if "choices" in schema.names:
        _check_list(schema, path, "choices")
    return parquet


def check_prefix(parquet: pq.ParquetFile, path: str, prefix: str) -> None:
    """UserError where a file has no such column of steps."""
    if prefix in (*TEXT_COLUMNS, "choices"):
        raise UserError(f"input.prefix: '{prefix}' is a column with a meaning of its own; give that of the steps")
    names = parquet.schema_arrow.names
    if prefix not in names:
        near = ", ".join(name[:40] for name in names[:12])
        raise UserError(f"input.prefix: {path} has no column '{prefix}'; it has {near}")
    _check_list(parquet.schema_arrow, path, prefix)


def _check_list(schema: pa.Schema, path: str, name: str) -> None:
    kind = schema.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_null(kind)
    if not is_list or (not pa.types.is_null(kind) and not _is_text(kind.value_type)):
        raise UserError(f"{path}: column '{name}' is {str(kind)[:60]}, but must be list of string")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in checks)


class Stretch(NamedTuple):
    """Row groups that follow one another."""

    start: int
    """First row."""
    rows: int
    """Rows taken."""
    groups: range


def stretches(parquet: pq.ParquetFile, rows: int, wanted: Callable[[int, int], bool]) -> list[Stretch]:
    """The row groups, among the first `rows` rows, of which any row is wanted; neighbours together. `wanted` is asked
    of the rows from a first one up to another, that one not included."""
    found: list[Stretch] = []
    start = 0
    for number in range(parquet.metadata.num_row_groups):
        taken = min(parquet.metadata.row_group(number).num_rows, rows - start)
        if taken > 0 and wanted(start, start + taken):
            before = found[-1] if found else None
            if before is not None and before.groups.stop == number:
                found[-1] = Stretch(before.start, before.rows + taken, range(before.groups.start, number + 1))
            else:
                found.append(Stretch(start, taken, range(number, number + 1)))
        start += taken
    return found


def batches(
    parquet: pq.ParquetFile, path: str, part: Stretch | int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a stretch, or the first so many rows, in batches, of those of `columns` that the file has."""
    names = parquet.schema_arrow.names
    wanted = None if columns is None else [name for name in columns if name in names]
    start, rows, groups = (0, part, range(parquet.metadata.num_row_groups)) if isinstance(part, int) else part
    left = rows
    try:
        few: list[pa.RecordBatch] = []
        size = 0
        for batch in parquet.iter_batches(
            _rows_at_once(parquet), row_groups=list(groups), columns=wanted, use_threads=False
        ):
            few.append(batch.slice(0, left))
            left -= len(few[-1])
            size += few[-1].nbytes
            if left <= 0 or sum(map(len, few)) >= BATCH or size >= BATCH_BYTES:
                yield pa.concat_batches(few) if len(few) > 1 else few[0]
                few, size = [], 0
            if left <= 0:
                return
        if few:
            yield pa.concat_batches(few)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: row {start + rows - left} and after cannot be read ({_first_line(error)})") from error
    if left > 0:
        raise UserError(f"{path}: ends after {start + rows - left} of {start + rows} rows")


def _rows_at_once(parquet: pq.ParquetFile) -> int:
    """Fewer than READ_AT_ONCE where the rows of a row group are large on average.

    What pyarrow knows of single columns would tell more, but asking it of an encrypted one ends the process.
    """
    groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
    largest = max((group.total_byte_size // group.num_rows for group in groups if group.num_rows > 0), default=0)
    return max(1, min(READ_AT_ONCE, BATCH_BYTES // max(1, largest)))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
