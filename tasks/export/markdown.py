"""Pieces of Markdown, of texts that may hold its marks."""

from __future__ import annotations

import re
from collections.abc import Sequence


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; cells are Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fence(text: str, language: str) -> str:
    """A block of code that nothing in the text can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text.rstrip()}\n{marks}\n"


def code(text: str) -> str:
    """A name from a file as code within a line or a table."""
    plain = "".join(c if c.isprintable() else " " for c in text).replace("`", "'").replace("|", "¦")
    return f"`{plain}`" if plain.strip() else ""


def plain(text: str) -> str:
    """A name as text that Markdown leaves alone."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\`*_{}\[\]<>#|&])", r"\\\1", printable)
