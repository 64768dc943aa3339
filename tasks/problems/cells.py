"""Cells of Arrow columns as values that JSON can hold."""

from __future__ import annotations

import base64
import datetime
import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.problems.arrow_kinds import codes_of, is_list, is_text, pairs


def records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch, column name to cell."""
    columns = [cells(column) for column in batch.columns]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def cells(column: pa.Array) -> list[Any]:
    """Values of a column of any type: dates in ISO form, bytes in base64, numbers that JSON lacks as text.

    What Python's own types cannot hold (nanoseconds, the year 300,000, an unknown time zone) stands as Arrow shows it.
    Of text that is not UTF-8 the bad bytes are replaced. A dictionary's entry is one value, however many rows have it.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _of_dictionary(column)
    if is_list(kind):
        return _lists(column)
    if pa.types.is_map(kind):
        return [found and [list(pair.values()) for pair in found] for found in cells(pairs(column))]
    if pa.types.is_struct(kind) and len(kind) and max(Counter(kind.names).values()) == 1:
        return _structs(column)
    if isinstance(kind, pa.BaseExtensionType) and kind not in (pa.uuid(), pa.bool8()):
        return cells(column.storage)
    try:
        values = column.to_pylist()
        return values if is_text(kind) or pa.types.is_integer(kind) else [_plain(value) for value in values]
    except Exception:  # one such value spoils the whole list, whatever its type: look at them one by one
        return [_cell(column.slice(i, 1)) for i in range(len(column))]


def texts(column: pa.Array) -> list[str | UnicodeDecodeError | None]:
    """Values of a text column; in the place of a text that is not UTF-8, the error."""
    if pa.types.is_dictionary(column.type):
        return _of_dictionary(column, texts)
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_text(column.slice(i, 1)) for i in range(len(column))]


def beginning(column: pa.Array, row: int, characters: int) -> str | None:
    """The first characters of a text of any length. Bytes that are not UTF-8 are replaced."""
    one = column.slice(row, 1)
    if pa.types.is_dictionary(one.type) and one.is_valid()[0].as_py():
        one = one.dictionary.slice(one.indices[0].as_py(), 1)
    if pa.types.is_dictionary(one.type) or not one.is_valid()[0].as_py():
        return None
    content: bytes = pc.binary_slice(one.cast(pa.large_binary()), 0, 4 * characters)[0].as_py()
    return content.decode("utf-8", "replace")[:characters]


def text_lists(column: pa.Array) -> list[list[str | None] | UnicodeDecodeError | None]:
    """Values of a column of lists of text; in the place of a list with a text that is not UTF-8, the error."""
    if not is_list(column.type):  # nothing but nulls
        return [None] * len(column)
    return [_broken(found) or found for found in _lists(column, texts)]


def _broken(found: list[Any] | None) -> UnicodeDecodeError | None:
    return next((text for text in found or [] if isinstance(text, UnicodeDecodeError)), None)


def _of_dictionary(column: pa.Array, inner: Any = cells) -> list[Any]:
    codes = codes_of(column)
    used, numbers = np.unique(codes, return_inverse=True)
    values = inner(column.dictionary.take(pa.array(used[used >= 0])))
    if len(used) and used[0] < 0:
        values = [None, *values]
    return [values[number] for number in numbers.tolist()]


def _lists(column: pa.Array, inner: Any = cells) -> list[Any]:
    items: Iterator[Any] = iter(inner(column.flatten()))
    lengths = pc.list_value_length(column).to_pylist()
    return [None if length is None else list(islice(items, length)) for length in lengths]


def _structs(column: pa.Array) -> list[Any]:
    fields = [cells(child) for child in column.flatten()]
    valid = column.is_valid().to_pylist()
    rows = zip(*fields, strict=True)
    return [dict(zip(column.type.names, row, strict=True)) if v else None for v, row in zip(valid, rows, strict=True)]


def _text(one: pa.Array) -> str | UnicodeDecodeError | None:
    try:
        return one.to_pylist()[0]
    except UnicodeDecodeError as error:
        return error


def _cell(one: pa.Array) -> Any:
    try:
        return _plain(one.to_pylist()[0])
    except UnicodeDecodeError:
        if is_text(one.type):
            return one.cast(pa.large_binary()).to_pylist()[0].decode("utf-8", "replace")
        return "(not UTF-8 text)"
    except Exception:  # pytz, struct and datetime each have their own
        return " ".join(str(one).split())[2:-2]


def _plain(value: Any) -> Any:
    """One value, and what it holds."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
