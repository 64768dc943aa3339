"""Reports as text."""

from __future__ import annotations

from tasks.errors import on_one_line

BAR = "  | "


def aligned(rows: list[tuple[str, str]]) -> list[str]:
    """A line for each name and value, whatever paths and names from files the values hold."""
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {on_one_line(value)}" for name, value in rows]


def quoted(text: str) -> list[str]:
    """A text's lines behind a bar, whole, without what a terminal would obey."""
    return [
        BAR + "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)
        for line in text.rstrip("\n").split("\n")
    ]
