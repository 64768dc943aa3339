"""The Arrow types of a problem set's columns, found row by row before anything is written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tasks.problems.importing.fields import BadRecord, Record

KNOWN: dict[str, pa.DataType] = {
    "problem_id": pa.string(),
    "problem": pa.string(),
    "answer": pa.string(),
    "choices": pa.list_(pa.string()),
}
"""Columns whose type is fixed, whatever the rows hold."""

FIRST = (*KNOWN, "source", "level")
"""Columns that come before the others, in this order."""


class Columns:
    """Types that hold every row seen so far. A column that only some rows have is null in the others."""

    def __init__(self) -> None:
        self.types: dict[str, pa.DataType] = {}

    def see(self, row: Record) -> None:
        """Raises BadRecord if a field is of another kind than in earlier rows."""
        for name, value in row.items():
            if name in KNOWN:
                self.types[name] = KNOWN[name]
            else:
                self.types[name] = _merged(self.types.get(name, pa.null()), _type(value, name), name)

    def schema(self) -> pa.Schema:
        """The columns of all rows so far, those of every problem set first."""
        names = [name for name in FIRST if name in self.types] + [name for name in self.types if name not in FIRST]
        types = {name: _storable(self.types[name]) for name in names}
        return pa.schema([(name, kind) for name, kind in types.items() if kind is not None])


def _type(value: Any, path: str) -> pa.DataType:
    """The type of a JSON value; null if nothing is known yet."""
    match value:
        case None:
            return pa.null()
        case bool():
            return pa.bool_()
        case int():
            if not -(2**63) <= value < 2**63:
                raise BadRecord(f"field {path!r} holds a whole number beyond 64 bits; write it as a string")
            return pa.int64()
        case float():
            return pa.float64()
        case str():
            return pa.string()
        case list():
            items = pa.null()
            for item in value:
                items = _merged(items, _type(item, path), path)
            return pa.list_(items)
        case dict():
            return pa.struct([(name, _type(item, f"{path}.{name}")) for name, item in value.items()])
    raise AssertionError(f"{type(value)} does not come from JSON")


def _merged(one: pa.DataType, other: pa.DataType, path: str) -> pa.DataType:
    """The type that holds the values of both."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_merged(one.value_type, other.value_type, path))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            fields[field.name] = _merged(fields.get(field.name, pa.null()), field.type, f"{path}.{field.name}")
        return pa.struct(list(fields.items()))
    raise BadRecord(f"field {path!r} holds {_name(other)} where it held {_name(one)} before; give it one type")


def _name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "a list"
    if pa.types.is_struct(kind):
        return "an object"
    return {pa.bool_(): "true or false", pa.int64(): "a number", pa.float64(): "a number"}.get(kind, "a string")


def _storable(kind: pa.DataType) -> pa.DataType | None:
    """The type as Parquet can store it: all nulls are a column of strings, and objects that are all empty are none."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        items = _storable(kind.value_type)
        return None if items is None else pa.list_(items)
    if pa.types.is_struct(kind):
        fields = [(field.name, _storable(field.type)) for field in kind]
        kept = [(name, inner) for name, inner in fields if inner is not None]
        return pa.struct(kept) if kept else None
    return kind
