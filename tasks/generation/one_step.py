"""Warns of solutions that are a single step each: the models then do not write prompt.separator between steps."""

from __future__ import annotations

SHARE = 0.9
"""Of solutions, from which on it is told."""
EARLY = 32
"""Solutions whose first step is written, from which on a process tells of it while it decodes."""
AT_ALL = 5
"""Solutions of a run, from which on it is told at its end."""


def told(ended: int, solutions: int, separator: str, least: int) -> str | None:
    """What to say where so many of the solutions, of which there are `least` or more, ended with their first step."""
    if solutions < least or ended < SHARE * solutions:
        return None
    return (
        f"{ended:,} of {solutions:,} solutions are a single step: the models hardly ever write prompt.separator "
        f"{separator!r}, so steps are not judged one by one"
    )
