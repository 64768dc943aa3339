"""Kinds of Arrow types, as problem sets tell them apart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_text(kind: pa.DataType) -> bool:
    """Text, or a dictionary of texts, or nothing but nulls."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in checks)


def is_list(kind: pa.DataType) -> bool:
    """A list of whatever layout, of a fixed length too."""
    checks = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(check(kind) for check in checks)


@lru_cache(1024)
def holds_dictionaries(kind: pa.DataType) -> bool:
    """Is a dictionary in it, however deep?"""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return pa.types.is_dictionary(kind) or any(holds_dictionaries(kind.field(i).type) for i in range(kind.num_fields))


@lru_cache(1024)
def holds_views(kind: pa.DataType) -> bool:
    """Is a layout in it, however deep, for which Arrow lacks most functions?"""
    if isinstance(kind, pa.BaseExtensionType):
        return holds_views(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return holds_views(kind.value_type)
    views = (pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_list_view, pa.types.is_large_list_view)
    return any(is_view(kind) for is_view in views) or any(
        holds_views(kind.field(i).type) for i in range(kind.num_fields)
    )


def without_views(column: pa.Array) -> pa.Array:
    """The same values in layouts for which Arrow has its functions."""
    kind = column.type
    if not holds_views(kind):
        return column
    if pa.types.is_string_view(kind):
        return column.cast(pa.binary_view()).cast(pa.large_binary()).view(pa.large_string())  # which need not be UTF-8
    if pa.types.is_binary_view(kind):
        return column.cast(pa.large_binary())
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(column.indices, without_views(column.dictionary))
    if pa.types.is_map(kind):
        offsets = pa.array(column.offsets.to_numpy())
        keys, items = without_views(column.keys), without_views(column.items)
        return pa.MapArray.from_arrays(offsets, keys, items, mask=column.is_null())
    nulls = column.is_null()
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([without_views(c) for c in column.flatten()], names=kind.names, mask=nulls)
    if is_list(kind):
        ends = np.cumsum(pc.list_value_length(column).cast(pa.int64()).fill_null(0).to_numpy())
        offsets = pa.array(np.concatenate([[0], ends]))
        return pa.LargeListArray.from_arrays(offsets, without_views(column.flatten()), mask=nulls)
    return without_views(column.storage)


def pairs(column: pa.MapArray) -> pa.ListArray:
    """Maps as lists of structs with a key and a value."""
    entries = pa.StructArray.from_arrays([column.keys, column.items], names=["key", "value"])
    offsets = pa.array(column.offsets.to_numpy())  # those of a slice could not take nulls
    return pa.ListArray.from_arrays(offsets, entries, mask=column.is_null())


def codes_of(column: pa.DictionaryArray) -> np.ndarray:
    """int64 [rows]: which of the dictionary's entries, -1 for null."""
    return column.indices.cast(pa.int64()).fill_null(-1).to_numpy()
