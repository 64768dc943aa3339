"""Thrift's compact protocol, in which Parquet writes what it says about itself.

pyarrow does not show what stands before each page, and ends the process where it is asked about an encrypted column.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 32
"""Structs within structs; Parquet has six."""

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
UUID_TYPE = 13


class NotThrift(ValueError):
    """Bytes that mean nothing in this protocol."""


def read_struct(data: bytes, at: int, depth: int = DEEPEST) -> tuple[dict[int, Any], int]:
    """The struct that begins at a place: number of a field to its value; and the place after it. Texts are bytes.

    Raises IndexError where the bytes end before it does, and NotThrift.
    """
    if depth == 0:
        raise NotThrift("nested too deeply")
    found: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(data, at)
        if kind in (TRUE, FALSE):
            found[number] = kind == TRUE
        else:
            found[number], at = _value(data, at, kind, depth)
    return found, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (I16, I32, I64):
        return _signed(data, at)
    if kind == BINARY:
        size, at = _unsigned(data, at)
        return data[at : _end(data, at + size)], at + size
    if kind == STRUCT:
        return read_struct(data, at, depth - 1)
    if kind in (LIST, SET):
        return _list(data, at, depth - 1)
    if kind in (TRUE, FALSE, BYTE):  # of a list
        return data[at], at + 1
    if kind in (DOUBLE, UUID_TYPE):
        size = 8 if kind == DOUBLE else 16
        return data[at : _end(data, at + size)], at + size
    raise NotThrift(f"type {kind}")  # maps, which Parquet has none of


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth == 0:
        raise NotThrift("nested too deeply")
    head = data[at]
    size, at = (head >> 4, at + 1) if head >> 4 < 15 else _unsigned(data, at + 1)
    found = []
    for _ in range(size):
        value, at = _value(data, at, head & 15, depth)
        found.append(value)
    return found, at


def _end(data: bytes, at: int) -> int:
    if at > len(data):
        raise IndexError
    return at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 128:
        return value, at
    value &= 127
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise NotThrift("a number of more than 64 bits")


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at
