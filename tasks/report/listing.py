"""The data of a page's runs that the list of solutions needs: their names, their part of a link, and their prompts."""

from __future__ import annotations

from typing import Any

from tasks.report.gather import Contents
from tasks.report.places import Cell


def about(contents: Contents) -> dict[str, Any]:
    """`cells`, `links`: of each run its name for people, and the parts of a link before problem and sample. `prompts`:
    of each run the numbers of its `frames`, each with the roles that read it and the text around the user message.
    `seen`: solutions that there are, on the page or not."""
    cells = contents.cells
    frames: dict[tuple[str, tuple[str, ...]], int] = {}
    prompts = [[frames.setdefault(frame, len(frames)) for frame in _frames(cell)] for cell in cells]
    return {
        "cells": [", ".join(_names(cell)) for cell in cells],
        "links": [[]] if contents.kind == "run" else [_names(cell) for cell in cells],
        "frames": [[roles, list(parts)] for roles, parts in frames],
        "prompts": prompts,
        "seen": contents.sample.seen,
    }


def _names(cell: Cell) -> list[str]:
    return [name for name in (cell.benchmark, cell.name) if name]


def _frames(cell: Cell) -> list[tuple[str, tuple[str, ...]]]:
    """The roles of a run, those that read the same text together, and that text. None are known of a run that has not
    finished, or that an older release made."""
    readers: dict[tuple[str, ...], list[str]] = {}
    for role, parts in (cell.manifest or {}).get("prompts", {}).items():
        readers.setdefault(tuple(parts), []).append(role)
    return [(" and ".join(roles), parts) for parts, roles in readers.items()]
