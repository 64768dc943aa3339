"""Lines for a terminal."""

from __future__ import annotations

import contextlib
import sys

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


def say(text: str) -> None:
    """Write a line to stderr. If nobody reads it any more, that is no fault: a run outlives its terminal."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
