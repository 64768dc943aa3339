"""Reports as text."""

from __future__ import annotations

from tasks.errors import on_one_line


def aligned(rows: list[tuple[str, str]]) -> list[str]:
    """A line for each name and value, whatever paths and names from files the values hold."""
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {on_one_line(value)}" for name, value in rows]
