"""A Parquet file of known columns that is read as a whole: refused before it takes the machine's memory."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import UserError, in_brief
from tasks.problems.arrow_kinds import is_list, is_text
from tasks.problems.parquet.pages import AT_ONCE
from tasks.problems.parquet.problem_file import ProblemFile, layout_of, open_table, read_columns

MOST = 384 << 20
RATIO = 64
"""A table may come to MOST bytes, or to RATIO times its file's size where that is more: tables of solutions come to a
tenth of that."""


def whole_table(content: bytes, path: str, schema: pa.Schema, rows: int | None = None) -> pa.Table:
    """Those columns of `schema` that a file has, in the schema's order and types. Raises UserError, naming `path`,
    where it is no whole Parquet file, has not as many `rows` as it must have, a column of another kind, no value where
    there must be one, or comes to far more bytes than it has."""
    f = io.BytesIO(content)
    parquet = open_table(f, path, layout_of(f, path))
    if rows is not None and parquet.metadata.num_rows != rows:
        raise UserError(f"{path}: has {parquet.metadata.num_rows:,} rows, but must have {rows:,}")
    wanted = pa.schema([field for field in schema if field.name in parquet.names])
    for field in wanted:
        _check_kind(parquet.schema_arrow.field(field.name).type, field, path)
    most = max(MOST, RATIO * len(content))
    batches = read_columns(parquet, path, wanted.names)
    if any(group.kept for group in parquet.layout) or _at_most(parquet) > most:
        batches = _counted(batches, path, most)
    try:
        parts = [pa.table(batch).cast(wanted) for batch in batches]
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({in_brief(error)})") from error
    return pa.concat_tables(parts) if parts else wanted.empty_table()


def _check_kind(kind: pa.DataType, field: pa.Field, path: str) -> None:
    """Raises UserError where a column holds values of another kind; how many bits a number has does not matter."""
    if is_list(field.type):
        fits = is_list(kind) and (is_text if is_text(field.type.value_type) else pa.types.is_integer)(kind.value_type)
    elif is_text(field.type):
        fits = is_text(kind)
    else:
        fits = pa.types.is_null(kind) or (pa.types.is_primitive(kind) and not pa.types.is_temporal(kind))
    if not fits:
        raise UserError(f"{path}: column {field.name} is {str(kind)[:60]}, but must be {field.type}")


def _at_most(parquet: ProblemFile) -> float:
    """Bytes that columns without a dictionary may come to, told by what stands before each page."""
    groups = (parquet.metadata.row_group(number).num_rows for number in range(parquet.metadata.num_row_groups))
    return sum(rows * AT_ONCE / of.rows_at_once for rows, of in zip(groups, parquet.layout, strict=True))


def _counted(batches: Iterator[pa.RecordBatch], path: str, most: int) -> Iterator[pa.RecordBatch]:
    """The same batches; raises UserError once they come to more than so many bytes, and before that is held."""
    came_to = 0
    for batch in batches:
        came_to += sum(map(_size, batch.columns))
        if came_to > most:
            raise UserError(f"{path}: comes to more than {most:,} bytes; no table of a run is packed so densely")
        yield batch


def _size(column: pa.Array) -> int:
    """Bytes of a column's values, each by itself."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary)
    return int(pc.sum(lengths.take(column.indices).cast(pa.int64())).as_py() or 0) + int(column.indices.nbytes)
