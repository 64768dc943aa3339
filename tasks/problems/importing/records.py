"""A benchmark's own file, read one record at a time from a local path or s3://: JSON lines, also packed, or Parquet."""

from __future__ import annotations

import io
import json
import lzma
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn, cast

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import UserError
from tasks.problems.cells import records
from tasks.problems.file_kinds import UNPACK, kind_of
from tasks.problems.importing.fields import Record, shown
from tasks.problems.parquet.problem_file import open_table, read_columns
from tasks.storage.store import faults_named
from tasks.storage.stores import Stores

BOM = b"\xef\xbb\xbf"
TAR, TAR_AT = b"ustar", 257
"""What a tar archive has, and from which byte on."""
LONGEST = 64 << 20
"""Bytes of a line."""


class RecordFile:
    """The objects of a file, each with its place. Raises UserError."""

    def __init__(self, path: str, stores: Stores) -> None:
        self.path, self.stores = path, stores
        with self._opened() as f:
            self.head = f.read(16)
        self.is_parquet = self.head.startswith(b"PAR1")
        self.unit = "row" if self.is_parquet else "line"
        """What a place counts."""

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        """Rows from 0, or lines from 1, of which blank ones are skipped."""
        with self._opened() as f:
            if self.is_parquet:
                yield from _rows(f, self.path)
            else:
                with self._unpacked(f) as lines:
                    yield from _lines(lines, self.path)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with faults_named(self.path), self.stores.open_input(self.path) as f:
                yield f
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file") from None

    @contextmanager
    def _unpacked(self, f: IO[bytes]) -> Iterator[IO[bytes]]:
        kind = kind_of(self.head)
        # Buffered: fsspec's own readline on s3 copies a whole block for every line.
        if kind is None or kind.name == "JSON":
            yield io.BufferedReader(cast(Any, f), 1 << 20)
            return
        if kind.codec is None:
            raise UserError(f"{self.path}: is {kind.name}, not JSON lines or Parquet; {kind.mend}")
        try:
            with lzma.LZMAFile(f) if kind.codec == "xz" else pa.CompressedInputStream(f, kind.codec) as unpacked:
                lines = io.BufferedReader(cast(Any, unpacked), 1 << 20)
                self._check_inside(lines.peek(TAR_AT + len(TAR))[: TAR_AT + len(TAR)], kind.name)
                yield lines
        except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
            raise UserError(f"{self.path}: {kind.name} that does not unpack ({error})") from error

    def _check_inside(self, head: bytes, outer: str) -> None:
        """Raises UserError where something other than lines was packed."""
        inner = kind_of(head[:16])
        name = "a Parquet file" if head.startswith(b"PAR1") else inner and inner.name
        if head[TAR_AT:] == TAR:
            name = "a tar archive"
        if name is not None and name != "JSON":
            raise UserError(f"{self.path}: is {outer} with {name} in it, not with JSON lines; {UNPACK}")


def _lines(f: IO[bytes], path: str) -> Iterator[tuple[int, Record]]:
    number = 0
    while line := f.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise UserError(f"{path}, line {number}: is longer than {LONGEST >> 20} MiB; each line must be one record")
        if number == 1:
            line = line.removeprefix(BOM)
        if line := line.strip():
            yield number, _record(line, f"{path}, line {number}")


def _rows(f: IO[bytes], path: str) -> Iterator[tuple[int, Record]]:
    parquet = open_table(f, path)
    number = 0
    for batch in read_columns(parquet, path, parquet.names):
        for record in records(_without_nan(batch)):
            yield number, record
            number += 1


def _without_nan(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Null for NaN, by which tools without nulls say that a number is missing."""
    for at, column in enumerate(batch.columns):
        if pa.types.is_floating(column.type) and pc.any(nan := pc.is_nan(column)).as_py():
            batch = batch.set_column(at, batch.schema.field(at), pc.if_else(nan, None, column))
    return batch


def _record(line: bytes, where: str) -> Record:
    try:
        value = json.loads(line.decode(), parse_constant=_refuse_constant, parse_float=_finite)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not UTF-8 (byte 0x{error.object[error.start]:02x} at column {error.start + 1}); "
            "the file must be JSON lines in UTF-8"
        ) from None
    except UnicodeEncodeError:
        raise UserError(f"{where}: a \\u escape is half of a surrogate pair, not a character") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except ValueError as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise UserError(f"{where}: not JSON ({reason}); each line must be one JSON object") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a JSON object but {shown(value)}; each line must be one JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is larger than numbers can be")
    return number
