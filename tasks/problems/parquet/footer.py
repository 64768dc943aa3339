"""What the footer of a Parquet file says of its columns, as far as it must be known before anything is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from tasks.errors import UserError
from tasks.problems.parquet.thrift import NotThrift, read_struct

MOST_FOOTER = 32 << 20
"""Bytes of a footer; one of a hundred thousand column chunks has half of that."""
MOST_COLUMNS = 10_000
MOST_ROWS = 1 << 25
"""Rows of a file; the survey remembers nine bytes of each."""
MOST_FIXED = 1 << 20
"""Bytes of a value of fixed size."""
BYTE_ARRAY, FIXED = 6, 7


@dataclass(frozen=True, eq=False)
class Chunk:
    """A column's part of a row group."""

    group: int
    path: tuple[str, ...]
    kind: int
    """Parquet's physical type."""
    flat: bool
    """One value a row."""
    rows: int
    values: int
    codec: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The column and row group, for messages."""
        return f"column {'.'.join(self.path)[:60]!r} in row group {self.group}"


def read_footer(f: IO[bytes], path: str) -> tuple[int, list[Chunk]]:
    """Number of row groups, and all chunks that hold values; raises UserError where there is no such footer."""
    try:
        return _described(read_struct(_footer(f), 0)[0])
    except (NotThrift, IndexError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        what = str(error) if isinstance(error, _Told) else "its footer makes no sense"
        raise UserError(f"{path}: not a whole Parquet file ({what})") from None


def _footer(f: IO[bytes]) -> bytes:
    size = f.seek(0, 2)
    if size < 12:
        raise _Told("it is too short" if size else "it is empty")
    f.seek(size - 8)
    end = f.read(8)
    if end[4:] != b"PAR1":
        raise _Told("its footer is encrypted" if end[4:] == b"PARE" else "it does not end as one")
    length = int.from_bytes(end[:4], "little")
    if length > min(size - 12, MOST_FOOTER):
        raise _Told(f"its footer has {length:,} bytes" + (" and ends before it" if length > size - 12 else ""))
    f.seek(size - 8 - length)
    return f.read(length)


class _Told(ValueError):
    """Says what is wrong in the words of a message."""


def _described(footer: dict[int, Any]) -> tuple[int, list[Chunk]]:
    if 8 in footer:
        raise _Told("it is encrypted")
    leaves = list(_leaves(footer[2]))
    if footer[3] > MOST_ROWS:
        raise _Told(f"it says that it has {footer[3]:,} rows; at most {MOST_ROWS:,} are taken from one file")
    found = []
    for number, group in enumerate(footer[4]):
        if len(group[1]) != len(leaves):
            raise _Told("its row groups have other columns than its schema")
        for column, (path, flat) in zip(group[1], leaves, strict=True):
            about = column[3] if 8 not in column and 9 not in column else None
            if about is None:
                raise _Told(f"column {path[0][:60]!r} is encrypted")
            if 1 in column:
                raise _Told("its columns lie in other files")
            start = min(about[9], about.get(11) or about[9])
            kind, codec, values, size = about[1], about[4], about[5], about[7]
            if min(start, values, size, group[3]) < 0:
                raise _Told("its footer makes no sense")
            if values:
                found.append(Chunk(number, path, kind, flat, group[3], values, codec, start, start + size))
            elif flat and group[3]:
                raise _Told(f"column {path[0][:60]!r} has no values for {group[3]:,} rows")
    return len(footer[4]), found


def _leaves(schema: list[dict[int, Any]]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Path of each leaf, and has it one value a row?"""
    if len(schema) > 10 * MOST_COLUMNS:
        raise _Told(f"it has {len(schema):,} columns")
    open_ones: list[list[Any]] = [[schema[0][5], (), True]]
    leaves = 0
    for element in schema[1:]:
        while open_ones and open_ones[-1][0] == 0:
            open_ones.pop()
        above = open_ones[-1]
        above[0] -= 1
        path = (*above[1], element[4].decode("utf-8", "replace"))
        flat = above[2] and element.get(3) != 2
        if element.get(5):
            if len(path) > 100:
                raise _Told("its columns are nested too deeply")
            open_ones.append([element[5], path, flat])
            continue
        if element.get(1) == FIXED and not 0 <= element[2] <= MOST_FIXED:
            raise _Told(f"a value of column {path[0][:60]!r} has {element[2]:,} bytes")
        leaves += 1
        if leaves > MOST_COLUMNS:
            raise _Told(f"it has more than {MOST_COLUMNS:,} columns")
        yield path, flat
