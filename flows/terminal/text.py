"""Reports as text."""

from __future__ import annotations

from tasks.errors import on_one_line

BAR = "  | "


def aligned(rows: list[tuple[str, str]]) -> list[str]:
    """A line for each name and value, aligned. Control characters in values are escaped."""
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {on_one_line(value)}" for name, value in rows]


def quoted(text: str) -> list[str]:
    """The lines of a text behind a bar. Control characters are escaped."""
    return [
        BAR + "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)
        for line in text.rstrip("\n").split("\n")
    ]
