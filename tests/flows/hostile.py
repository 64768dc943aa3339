"""Values that stand in files which somebody made to do harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
GONE = object()
ODD: list[Any] = [None, True, -1, 1.5, 10**18, 10**30, 1e308, 10**400, "\x1b[2J../../x", "", [], {}, [None], {"a": {}}]
ODD += [DEEP, {"x" * 10_000: 1}, GONE]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where anything stands in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The value with something else in a place."""
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and other is GONE:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(value[path[0]], path[1:], other)
    return copy
