"""Cells of Arrow columns as values that JSON can hold."""

from __future__ import annotations

import base64
import datetime
import math
from typing import Any

import pyarrow as pa


def records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch, column name to cell."""
    columns = [cells(column) for column in batch.columns]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def cells(column: pa.Array) -> list[Any]:
    """Values of a column: dates in ISO form, bytes in base64, numbers that JSON lacks as text.

    What Python's own types cannot hold (nanoseconds, the year 300,000, an unknown time zone) stands as Arrow shows it.
    Of text that is not UTF-8 the bad bytes are replaced; a list or struct with such text is a string that says so.
    """
    try:
        return [plain(value) for value in column.to_pylist()]
    except Exception:  # one such value spoils the whole list, whatever its type: look at them one by one
        return [_cell(column.slice(i, 1)) for i in range(len(column))]


def texts(column: pa.Array) -> list[str | UnicodeDecodeError | None]:
    """Values of a text column; the error where the bytes are not UTF-8."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_text(column.slice(i, 1)) for i in range(len(column))]


def _text(one: pa.Array) -> str | UnicodeDecodeError | None:
    try:
        return one.to_pylist()[0]
    except UnicodeDecodeError as error:
        return error


def _cell(one: pa.Array) -> Any:
    try:
        return plain(one.to_pylist()[0])
    except UnicodeDecodeError:
        if pa.types.is_string(one.type) or pa.types.is_large_string(one.type):
            return one.cast(pa.large_binary()).to_pylist()[0].decode("utf-8", "replace")
        return "(not UTF-8 text)"
    except Exception:  # pytz, struct and datetime each have their own
        return " ".join(str(one).split())[2:-2]


def plain(value: Any) -> Any:
    """One value, and what it holds."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
