"""Problem sets as Parquet: the only place that reads problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UserError, in_brief
from tasks.problems.arrow_kinds import holds_dictionaries, holds_views, is_list, is_text, without_views
from tasks.problems.file_kinds import kind_of
from tasks.problems.parquet.pages import Group, PageWalk

BATCH = 4096
"""Rows of a batch, but for columns of which only the dictionary's numbers are held."""
BATCH_BYTES = 16 << 20
"""Bytes of a batch that has more than a few rows."""
DECODED = 1 << 30
RATIO = 1000
"""Reading a file stops when it has unpacked to this many bytes, and to this many times its own size."""
TEXT_COLUMNS = ("problem_id", "problem", "answer")
OURS = (*TEXT_COLUMNS, "choices")
"""Columns with a meaning and a type of their own."""


class ProblemFile(pq.ParquetFile):
    """An open file with the columns of a problem set."""

    def __init__(self, f: IO[bytes], layout: Sequence[Group]) -> None:
        super().__init__(f, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        self.f, self.layout = f, layout
        self.names: list[str] = self.schema_arrow.names
        self.size = f.seek(0, 2)
        self.kept: tuple[tuple[str, str], ...] = ()
        self.keeping = self

    def with_dictionaries(self, kept: tuple[tuple[str, str], ...]) -> pq.ParquetFile:
        """The same file, some leaves read as the dictionaries they are."""
        if self.kept != kept:
            leaves = [leaf for _, leaf in kept]
            self.keeping = pq.ParquetFile(
                self.f,
                metadata=self.metadata,
                read_dictionary=leaves,
                buffer_size=1 << 20,
                pre_buffer=False,
                page_checksum_verification=True,
            )
            self.kept = kept
        return self.keeping


def walk(f: IO[bytes], path: str) -> PageWalk:
    """To be fed with the file's bytes. Raises UserError where it is no Parquet file."""
    f.seek(0)
    kind = kind_of(f.read(16))
    if kind is not None:
        raise UserError(f"{path}: not a whole Parquet file but {kind.name}; {kind.mend}")
    return PageWalk(f, path)


def layout_of(f: IO[bytes], path: str) -> tuple[Group, ...]:
    """How its row groups are to be read; reads the whole file."""
    pages = walk(f, path)
    at = 0
    while block := f.read(1 << 22):
        pages.feed(at, block)
        at += len(block)
    return pages.found()


def open_table(f: IO[bytes], path: str, layout: Sequence[Group] | None = None) -> ProblemFile:
    """A Parquet file of any columns; raises UserError where it is none. `layout`: where it is known."""
    if layout is None:
        layout = layout_of(f, path)
    try:
        parquet = ProblemFile(f, layout)
    except pa.ArrowNotImplementedError as error:
        raise UserError(f"{path}: a column has a type that pyarrow does not read ({in_brief(error)})") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole Parquet file ({in_brief(error)})") from error
    groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)]
    if min(groups, default=0) < 0 or parquet.metadata.num_rows != sum(groups):
        raise UserError(f"{path}: not a whole Parquet file (its footer contradicts itself about the number of rows)")
    if len(set(parquet.names)) < len(parquet.names):
        raise UserError(f"{path}: a column name occurs twice")
    return parquet


def open_parquet(f: IO[bytes], path: str, layout: Sequence[Group] | None = None) -> ProblemFile:
    """A Parquet file with the columns of a problem set; raises UserError where it is none. `layout`: where it is
    known."""
    parquet = open_table(f, path, layout)
    if parquet.metadata.num_rows == 0:
        return parquet  # such parts are written without knowing their columns' types
    if "problem" not in parquet.names:
        raise UserError(f"{path}: column 'problem' is missing; the file has {_shown(parquet.names) or 'no columns'}")
    for name in OURS:
        if name in parquet.names:
            _check(parquet, path, name)
    return parquet


def check_prefix(parquet: ProblemFile, path: str, prefix: str) -> None:
    """Raises UserError where a file has no such column of steps."""
    if prefix in OURS:
        raise UserError(f"input.prefix: '{prefix}' is a column that Stepwave uses itself; name the column of the steps")
    if parquet.metadata.num_rows == 0:
        return
    if prefix not in parquet.names:
        raise UserError(f"input.prefix: {path} has no column '{prefix}'; it has {_shown(parquet.names)}")
    _check(parquet, path, prefix)


def _shown(names: list[str]) -> str:
    return ", ".join(name[:40] for name in names[:12])


def _check(parquet: ProblemFile, path: str, name: str) -> None:
    """Raises UserError where a column of ours has another type, and a value."""
    kind = parquet.schema_arrow.field(name).type
    if name in TEXT_COLUMNS:
        wanted = "string, or whole numbers" if name == "answer" else "string"
        fits = is_text(kind) or (name == "answer" and pa.types.is_integer(kind))
    else:
        wanted = "list of string"
        fits = pa.types.is_null(kind) or (is_list(kind) and is_text(kind.value_type))
    if not fits and not _all_null(parquet, path, name):
        raise UserError(f"{path}: column '{name}' is {str(kind)[:60]}, but must be {wanted}")


def _all_null(parquet: ProblemFile, path: str, name: str) -> bool:
    """True if a column holds no value. Tools that do not know the type of an empty column write any type."""
    return all(batch.column(name).null_count == len(batch) for batch in read_columns(parquet, path, [name]))


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
    parquet: ProblemFile, path: str, part: Stretch | int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a stretch, or the first so many rows, in batches, of those of `columns` that the file has. Columns
    with a meaning have their types, whatever the file has for them."""
    names = parquet.names if columns is None else [name for name in columns if name in parquet.names]
    start, rows, groups = (0, part, range(parquet.metadata.num_row_groups)) if isinstance(part, int) else part
    left = rows
    for batch in _gathered(read_columns(parquet, path, names, groups)):
        batch = batch.slice(0, left)
        left -= len(batch)
        yield _as_ours(batch)
        if left <= 0:
            return
    if left > 0:
        raise UserError(f"{path}: ends after {start + rows - left} of {start + rows} rows")


def read_columns(
    parquet: ProblemFile, path: str, names: list[str], groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Columns as the file has them. Row group by row group: Arrow cannot put together dictionaries of several that lie
    in lists or structs. Raises UserError where they cannot be read."""
    row = decoded = 0
    try:
        for number in range(parquet.metadata.num_row_groups) if groups is None else groups:
            for batch in _of_group(parquet, number, names):
                row += len(batch)
                decoded += sum(column.nbytes for column in batch.columns if not holds_dictionaries(column.type))
                check_size(parquet, path, decoded)
                yield batch
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: cannot be read from row {row} or soon after on ({in_brief(error)})") from error


def check_size(parquet: ProblemFile, path: str, came_to: int) -> None:
    """Raises UserError if a file unpacks to far more bytes than it has."""
    if came_to > max(DECODED, RATIO * parquet.size):
        raise UserError(
            f"{path}: {came_to:,} bytes were made of its {parquet.size:,}, and it goes on: it is packed too densely"
        )


def _of_group(parquet: ProblemFile, number: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    """A row group: columns whose dictionaries are kept, beside those whose values are decoded one by one."""
    group = parquet.layout[number]
    with_dictionary = {column for column, _ in group.kept}
    kept = [name for name in names if name in with_dictionary]
    others = [name for name in names if name not in with_dictionary]
    one_by_one = _iterated(parquet, number, others, min(group.rows_at_once, BATCH))
    if not kept:
        yield from one_by_one
        return
    whole = _iterated(parquet.with_dictionaries(group.kept), number, kept, group.kept_at_once)
    if not others:
        yield from whole
        return
    beside = pa.RecordBatch.from_pydict({name: [] for name in kept})
    for batch in one_by_one:
        while len(batch):
            if not len(beside) and not len(beside := next(whole, beside)):
                raise ValueError("its columns have different numbers of rows")
            rows = min(len(batch), len(beside))
            both = dict(zip(others, batch.slice(0, rows).columns, strict=True))
            both |= dict(zip(kept, beside.slice(0, rows).columns, strict=True))
            yield pa.RecordBatch.from_pydict({name: both[name] for name in names})
            batch, beside = batch.slice(rows), beside.slice(rows)


def _iterated(parquet: pq.ParquetFile, number: int, names: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    every = names == parquet.schema_arrow.names
    for batch in parquet.iter_batches(rows, row_groups=[number], columns=None if every else names, use_threads=False):
        batch = batch.select(names)  # a name with a dot brings others along
        for at, column in enumerate(batch.columns):
            if holds_views(column.type):
                batch = batch.set_column(at, names[at], without_views(column))
        yield batch


def _gathered(read: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches put together, as far as they can be."""
    few: list[pa.RecordBatch] = []
    size = 0
    for batch in read:
        alone = any(holds_dictionaries(kind) for kind in batch.schema.types)
        if few and (alone or sum(map(len, few)) >= BATCH or size >= BATCH_BYTES):
            yield pa.concat_batches(few) if len(few) > 1 else few[0]
            few, size = [], 0
        if alone:
            yield batch
        else:
            few.append(batch)
            size += batch.nbytes
    if few:
        yield pa.concat_batches(few) if len(few) > 1 else few[0]


def _as_ours(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Whole numbers as the text of an answer, and a column of another type, which holds nothing, as nulls."""
    for at, name in enumerate(batch.schema.names):
        kind = batch.schema.field(at).type
        if name in OURS and pa.types.is_integer(kind):
            batch = batch.set_column(at, name, batch.column(at).cast(pa.string()))
        elif name in OURS and not (is_text(kind) if name in TEXT_COLUMNS else is_list(kind)):
            batch = batch.set_column(at, name, pa.nulls(len(batch)))
    return batch
