"""The data of a page's runs that the list of solutions needs: their names, their part of a link, and their prompts."""

from __future__ import annotations

from typing import Any

from tasks.report.gather import Contents
from tasks.report.places import ReportedRun


def about(contents: Contents) -> dict[str, Any]:
    """`cells`, `links`: of each run its name for people, and the parts of a link before problem and sample. `prompts`:
    of each run the numbers of its `frames`, each with the roles that read it and the text around the user message.
    `seen`: solutions that there are, on the page or not."""
    runs = contents.runs
    frames: dict[tuple[str, tuple[str, ...]], int] = {}
    prompts = [[frames.setdefault(frame, len(frames)) for frame in _frames(run)] for run in runs]
    return {
        "cells": [", ".join(_names(run)) for run in runs],
        "links": [[]] if contents.kind == "run" else [_names(run) for run in runs],
        "frames": [[roles, list(parts)] for roles, parts in frames],
        "prompts": prompts,
        "seen": contents.shown.seen,
    }


def _names(run: ReportedRun) -> list[str]:
    return [name for name in (run.benchmark, run.name) if name]


def _frames(run: ReportedRun) -> list[tuple[str, tuple[str, ...]]]:
    """The roles of a run, those that read the same text together, and that text. None are known of a run that has not
    finished, or that an older release made."""
    readers: dict[tuple[str, ...], list[str]] = {}
    for role, parts in (run.manifest or {}).get("prompts", {}).items():
        readers.setdefault(tuple(parts), []).append(role)
    return [(" and ".join(roles), parts) for parts, roles in readers.items()]
