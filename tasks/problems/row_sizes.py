"""How much the rows of Arrow columns hold, and which of them are alike, found without making anything of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.problems.arrow_kinds import codes_of, holds_dictionaries, is_list, is_text, pairs

NUMBER = 8
"""Bytes that stand for any value of fixed size."""


def sizes(column: pa.Array, item: int = NUMBER) -> np.ndarray:
    """Bytes that the value of each row comes to, what dictionaries share counted each time: int64 [rows]. `item`: what
    each of a list's values counts beside what is in it."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        codes = codes_of(column)
        used, numbers = np.unique(codes, return_inverse=True)
        of_used = sizes(column.dictionary.take(pa.array(used[used >= 0])))
        return np.concatenate([np.zeros(len(used) - len(of_used), np.int64), of_used])[numbers]
    if is_list(kind):
        lengths = pc.list_value_length(column).cast(pa.int64()).fill_null(0).to_numpy()
        items = column.flatten()
        ends = np.cumsum(lengths)
        if _is_fixed(items.type):
            return lengths * max(item, NUMBER)
        total = np.concatenate([[0], np.cumsum(sizes(items, item))])
        return total[ends] - total[ends - lengths] + lengths * item
    if pa.types.is_map(kind):
        return sizes(pairs(column))
    if pa.types.is_struct(kind):
        return sum((sizes(child) for child in column.flatten()), start=np.zeros(len(column), np.int64))
    if isinstance(kind, pa.BaseExtensionType):
        return sizes(column.storage)
    if _is_fixed(kind):
        return np.full(len(column), NUMBER, np.int64)
    return pc.binary_length(column).cast(pa.int64()).fill_null(0).to_numpy()


def values_of(column: pa.Array) -> np.ndarray:
    """How many values the lists of each row have, inner ones' too: int64 [rows]."""
    kind = column.type
    if pa.types.is_map(kind) or is_list(kind):
        lists = pairs(column) if pa.types.is_map(kind) else column
        lengths = pc.list_value_length(lists).cast(pa.int64()).fill_null(0).to_numpy()
        items = lists.flatten()
        if not pa.types.is_nested(items.type):
            return lengths
        ends = np.cumsum(lengths)
        total = np.concatenate([[0], np.cumsum(np.maximum(1, values_of(items)))])
        return total[ends] - total[ends - lengths]
    if pa.types.is_struct(kind) and len(kind):
        return np.max([values_of(child) for child in column.flatten()], axis=0)
    return np.ones(len(column), np.int64)


def _is_fixed(kind: pa.DataType) -> bool:
    """Values of a few bytes, or columns of nothing."""
    return pa.types.is_primitive(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind)


def distinct(batch: pa.RecordBatch, names: Sequence[str]) -> tuple[pa.RecordBatch, np.ndarray]:
    """Some columns of a batch without the rows that are alike because dictionaries have them so; and the number in it
    of each of the batch's rows."""
    few = batch.select(list(names))
    if not any(map(holds_dictionaries, few.schema.types)):
        return few, np.arange(len(batch))
    numbers = np.zeros(len(batch), np.int64)
    for column in few.columns:
        codes = _numbers(column)
        if codes is None:
            return few, np.arange(len(batch))
        _, numbers = np.unique(numbers * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)
    first = np.unique(numbers, return_index=True)[1]
    return few.take(pa.array(first)), numbers


def _numbers(column: pa.Array) -> np.ndarray | None:
    """A number for each row, equal where a dictionary has rows alike, or text is; None for other lists."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int64)
    if is_text(column.type):
        return codes_of(column.dictionary_encode()) + 1
    if is_list(column.type) and pa.types.is_dictionary(column.type.value_type):
        codes = codes_of(column.flatten()).astype(np.int32).tobytes()
        lengths = pc.list_value_length(column).cast(pa.int64()).fill_null(0).to_numpy()
        ends = np.cumsum(lengths) * 4
        seen: dict[bytes | None, int] = {}
        rows = zip((ends - lengths * 4).tolist(), ends.tolist(), column.is_valid().to_pylist(), strict=True)
        return np.array([seen.setdefault(codes[a:b] if valid else None, len(seen)) for a, b, valid in rows])
    return None
