"""One file made into a problem set, in two passes: the first finds the columns' types, the second writes.

Memory holds a batch of rows, every row's problem_id and, at the end, the compressed result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.credentials import MEND, holds_credentials
from tasks.errors import UserError
from tasks.problems.importing.columns import Columns
from tasks.problems.importing.fields import BadRecord, Record
from tasks.problems.importing.records import RecordFile
from tasks.storage.stores import Stores

BATCH = 10_000
"""Rows converted at once, and rows of a row group."""


@dataclass(frozen=True)
class Imported:
    """Counts of the problem set that was written."""

    path: str
    rows: int
    answered: int
    """Rows with a reference answer."""
    columns: list[str]


@dataclass(frozen=True)
class Conversion:
    """A benchmark's file on its way to a problem set."""

    row: Callable[[Record], Record]
    name: str
    """`source` of rows that name none, and the start of the problem_ids made from positions."""
    src: str
    stores: Stores

    def write(self, dest: str) -> Imported:
        """Raises UserError for faults of the input, and if `dest` cannot be written."""
        folder, key = _target(dest)
        columns, rows, answered = self._survey()
        schema = columns.schema()
        with _unwritable(dest), tempfile.TemporaryFile() as file:
            if self._write_parquet(file, schema) != rows:
                raise UserError(f"{self.src}: changed while it was read; import it again")
            file.seek(0)
            self.stores.store(folder).write(key, file.read())
        return Imported(dest, rows, answered, schema.names)

    def _survey(self) -> tuple[Columns, int, int]:
        """Columns, number of rows and number of rows with an answer; every row is checked."""
        columns = Columns()
        places: dict[str, int] = {}
        unit = RecordFile(self.src, self.stores).unit
        answered = 0
        for place, row in self._rows():
            problem_id = row["problem_id"]
            if problem_id in places:
                raise UserError(
                    f"{self.src}, {unit} {place}: problem_id {problem_id!r} was used on {unit} {places[problem_id]}; "
                    f"make it unique or leave it out on every {unit}"
                )
            places[problem_id] = place
            with _placed(f"{self.src}, {unit} {place}"):
                columns.see(row)
            answered += row.get("answer") is not None
        if not places:
            must = "it must have one JSON object a line" if unit == "line" else "it has no rows"
            raise UserError(f"{self.src}: holds no problems; {must}")
        return columns, len(places), answered

    def _write_parquet(self, file: IO[bytes], schema: pa.Schema) -> int:
        rows = (row for _, row in self._rows())
        written = 0
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while batch := list(islice(rows, BATCH)):
                try:
                    table = pa.Table.from_pylist(batch, schema=schema)
                except pa.ArrowInvalid as error:  # such as a number too large for a column that holds fractions too
                    raise UserError(f"{self.src}: {' '.join(str(error).split())}") from error
                writer.write_table(table)
                written += len(batch)
        return written

    def _rows(self) -> Iterator[tuple[int, Record]]:
        """Rows with the places of their records in the file."""
        file = RecordFile(self.src, self.stores)
        for position, (place, record) in enumerate(file):
            with _placed(f"{self.src}, {file.unit} {place}"):
                row = self.row(record)
            row["problem_id"] = row.get("problem_id") or f"{self.name}-{position:05d}"
            row.setdefault("source", self.name)
            yield place, row


def _target(dest: str) -> tuple[str, str]:
    """Folder and file name of `dest`."""
    if holds_credentials(dest):
        raise UserError(f"the problem set's name holds credentials; {MEND}")
    folder, slash, key = dest.rpartition("/")
    if not key.endswith(".parquet"):
        raise UserError(f"{dest}: the problem set's name must end in .parquet")
    if folder.endswith(":/"):
        raise UserError(f"{dest}: names a bucket but no file in it")
    return folder or slash or ".", key


@contextmanager
def _placed(where: str) -> Iterator[None]:
    try:
        yield
    except BadRecord as error:
        raise UserError(f"{where}: {error}") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None


@contextmanager
def _unwritable(dest: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{dest}: cannot be written ({error.strerror or error})") from error
