"""How large a Parquet file is in memory, found from its footer and from the headers of its pages.

A page says how large it is once it is unpacked; a dictionary's one entry may stand for any number of rows. To read it
would be to find out too late: a few kilobytes can hold terabytes. What is found here decides how many rows are decoded
at once, and which columns keep their dictionaries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import pyarrow as pa

from tasks.errors import UserError
from tasks.problems.parquet.footer import BYTE_ARRAY, Chunk, read_footer
from tasks.problems.parquet.thrift import NotThrift, read_struct

MOST_PAGE = 256 << 20
"""Bytes of an unpacked page. What writes Parquet aims at 1 to 100 MB, but looks only after so many values."""
MOST_OF_FEW = 105 << 20
FEW_ARE_OF = 16 << 20
"""Bytes of a page whose values have so many bytes on average: of one large cell."""
MOST_LISTED = 1 << 24
"""Values of a page of lists, or of a row on average."""
MOST_BEFORE_PAGE = 1 << 24
"""Bytes of what stands before a page, statistics included; also the most that pyarrow reads."""
EXPANDS = 16 << 20
"""Bytes that a dictionary's entries may come to in the rows of a row group before it is kept as one."""
LOOKED_INTO = 4 << 20
"""Bytes of a dictionary whose longest entry is looked for; that of a larger one counts as all of it."""
MOST_AT_ONCE = 1 << 17
"""Rows of columns whose dictionaries are kept."""
DISTINCT = 96 << 20
"""Bytes of a dictionary, and of the values beside it, that are held at once."""
AT_ONCE = 16 << 20
"""Bytes that rows decoded at once may come to."""
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
DICTIONARY_CODED = (2, 8)
DELTA_BYTE_ARRAY = 7
"""Encodings of pages. Values of the last one may each be as long as the page."""
LENGTH = struct.Struct("<I")
"""Stands before each entry of a dictionary of texts."""
CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}


class Group(NamedTuple):
    """How a row group is read."""

    rows_at_once: int
    """Of columns whose values are decoded one by one."""
    kept: tuple[tuple[str, str], ...] = ()
    """Leaves (dotted paths) that are read as the dictionaries they are, each after its column."""
    kept_at_once: int = 1
    """Rows at once of the columns that have such leaves."""


@dataclass
class Pages:
    """What the pages of a chunk add up to."""

    values: int = 0
    dictionary: int = 0
    """Bytes of the dictionary."""
    entries: int = 0
    coded: int = 0
    """Values that are numbers of the dictionary's entries."""
    plain: int = 0
    """Bytes of the other values."""
    densest: float = 0
    """Most bytes a value of those."""
    packed: bytes | None = None
    """The dictionary as it is stored, where it is small."""

    entry: float = 0
    """Bytes of the longest entry, or more."""

    def expands(self) -> bool:
        """May its entries come to much?"""
        return self.coded * self.entry > EXPANDS

    def finish(self, chunk: Chunk) -> None:
        """Find the longest entry, once all pages were seen."""
        self.entry = self.dictionary if chunk.kind == BYTE_ARRAY else self.dictionary / max(1, self.entries)
        if self.expands() and chunk.kind == BYTE_ARRAY:
            self.entry = self._longest(chunk.codec)
        self.packed = None

    def _longest(self, codec: int) -> int:
        content = self.packed
        try:
            if content is not None and (name := CODECS[codec]) is not None:
                content = pa.decompress(content, self.dictionary, name, asbytes=True)
        except (pa.ArrowException, KeyError, OSError, ValueError):  # told when it is read
            content = None
        if content is None:
            return self.dictionary
        at, longest, last = 0, 0, len(content) - LENGTH.size
        while at <= last:
            (length,) = LENGTH.unpack_from(content, at)
            at += LENGTH.size + length
            if length > longest:
                longest = length
        return min(longest, self.dictionary)


class PageWalk:
    """Looks at what stands before each page, while the file's bytes pass by in order. Raises UserError."""

    def __init__(self, f: IO[bytes], path: str) -> None:
        """Reads the footer; leaves the file at its start."""
        self.path = path
        self.groups, self.chunks = read_footer(f, path)
        f.seek(0)
        self.pages = {chunk: Pages() for chunk in self.chunks}
        self.todo = self._in_order()
        self.chunk = next(self.todo, None)
        self.next = self.chunk.start if self.chunk else 0
        """Where the next page begins."""
        self.rest = b""

    def _in_order(self) -> Iterator[Chunk]:
        """One chunk after another; of those that share their pages one."""
        stop, last = 0, None
        for chunk in sorted(self.chunks, key=lambda chunk: (chunk.start, chunk.stop)):
            if last is not None and (chunk.start, chunk.stop) == (last.start, last.stop):
                self.pages[chunk] = self.pages[last]
                continue
            if chunk.start < stop:
                self._contradicts(chunk, "its pages lie within another column's")
            stop, last = chunk.stop, chunk
            yield chunk

    def feed(self, at: int, block: bytes) -> None:
        """The file's next bytes, from a place on."""
        if self.rest:
            at -= len(self.rest)
            block = self.rest + block
            self.rest = b""
        while self.chunk is not None and (start := self.next - at) < len(block):
            if start < 0:
                self._contradicts(self.chunk, "its pages lie within another column's")
            try:
                head, stop = read_struct(block, start)
                if (
                    head[1] == DICTIONARY_PAGE
                    and self.chunk.kind == BYTE_ARRAY
                    and max(head[2], head[3]) <= LOOKED_INTO
                ):
                    if stop + head[3] > len(block):
                        self.rest = block[start:]
                        return
                    self.pages[self.chunk].packed = block[stop : stop + head[3]]
                self._note(self.chunk, head)
                self.next = at + stop + head[3]
            except IndexError:
                if len(block) - start < MOST_BEFORE_PAGE:
                    self.rest = block[start:]
                    return
                self._contradicts(self.chunk, "what stands before a page is too long")
            except (NotThrift, KeyError, TypeError, AttributeError):
                self._contradicts(self.chunk, "no page where one should be")
            # not where the chunk is said to stop: some writers leave out what stands before its dictionary
            if self.pages[self.chunk].values >= self.chunk.values:
                self.pages[self.chunk].finish(self.chunk)
                self.chunk = next(self.todo, None)
                self.next = self.chunk.start if self.chunk else 0

    def _note(self, chunk: Chunk, head: dict[int, Any]) -> None:
        """Add up a page. Raises KeyError and TypeError where a page says nothing of the kind."""
        size, pages = head[2], self.pages[chunk]
        about = head.get({DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_V2: 8}.get(head[1], 0), {1: 0})
        few = size > MOST_PAGE or size > FEW_ARE_OF * max(1, about[1])
        most = MOST_OF_FEW if few else MOST_PAGE
        if not 0 <= size <= most or head[3] < 0:
            raise UserError(
                f"{self.path}: a page of {chunk.name} is {size:,} bytes when unpacked; at most {most:,} are read of so "
                "few values"
            )
        if head[1] == DICTIONARY_PAGE:
            pages.dictionary, pages.entries = pages.dictionary + size, pages.entries + about[1]
        elif head[1] in (DATA_PAGE, DATA_PAGE_V2):
            values, encoding = about[1], about[2] if head[1] == DATA_PAGE else about[4]
            if values < 0:
                raise TypeError
            if not chunk.flat and max(values, chunk.values / max(1, chunk.rows)) > MOST_LISTED:
                raise UserError(f"{self.path}: lists of {chunk.name} have {values:,} values or more in a few rows")
            pages.values += values
            if encoding in DICTIONARY_CODED:
                pages.coded += values
            else:
                pages.plain += size
                pages.densest = max(pages.densest, size if encoding == DELTA_BYTE_ARRAY else size / max(1, values))

    def found(self) -> tuple[Group, ...]:
        """How each row group is to be read, once all bytes have passed."""
        if self.chunk is not None:
            self._contradicts(self.chunk, "its pages end before it does")
        of: list[dict[str, list[tuple[Chunk, Pages]]]] = [{} for _ in range(self.groups)]
        for chunk in self.chunks:
            if self.pages[chunk].values != chunk.values or (chunk.flat and chunk.values != chunk.rows):
                says = f"its pages have {self.pages[chunk].values:,} values, the footer {chunk.values:,}"
                self._contradicts(chunk, f"{says} for {chunk.rows:,} rows")
            of[chunk.group].setdefault(chunk.path[0], []).append((chunk, self.pages[chunk]))
        return tuple(map(_group, of))

    def _contradicts(self, chunk: Chunk, what: str) -> None:
        raise UserError(f"{self.path}: not a whole Parquet file ({chunk.name}: {what})")


def _group(columns: dict[str, list[tuple[Chunk, Pages]]]) -> Group:
    kept: list[tuple[str, str]] = []
    one_by_one, of_kept = 1.0, 1.0
    for column, chunks in columns.items():
        as_they_are = [chunk for chunk, pages in chunks if _keeps(chunk, pages)]
        row = sum(_a_row(chunk, pages, chunk in as_they_are) for chunk, pages in chunks)
        if as_they_are:
            kept += [(column, ".".join(chunk.path)) for chunk in as_they_are]
            of_kept += row
        else:
            one_by_one += row
    return Group(max(1, int(AT_ONCE / one_by_one)), tuple(kept), max(1, min(MOST_AT_ONCE, int(AT_ONCE / of_kept))))


def _keeps(chunk: Chunk, pages: Pages) -> bool:
    """Is its dictionary kept?"""
    return chunk.kind == BYTE_ARRAY and pages.expands() and pages.dictionary + pages.plain <= DISTINCT


def _a_row(chunk: Chunk, pages: Pages, kept: bool) -> float:
    """Bytes of a row, at most where it has one value."""
    rows = max(1, chunk.rows)
    if kept:
        return 16 * chunk.values / rows
    return max(pages.entry if pages.expands() else 0, pages.densest) * chunk.values / rows
