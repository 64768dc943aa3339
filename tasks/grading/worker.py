"""What runs in a grading process: one verdict at a time, within limits of memory and processor time."""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Any

from tasks.grading.graders import GraderRules

MEMORY = 1 << 30
"""Bytes that a process may take beyond what it has once its libraries stand."""


unprepared: list[str] = []
"""Why this process cannot grade."""


class Unprepared(Exception):
    """This process cannot grade, whatever it is asked."""


def prepare() -> None:
    """What a process does first. If it fails, every verdict raises Unprepared, for the pool would start others."""
    try:
        _prepare()
    except Exception as error:
        unprepared.append(f"{type(error).__name__}: {error}")


def ready() -> None:
    """Raises Unprepared where this process is not."""
    if unprepared:
        raise Unprepared(unprepared[0])


def _prepare() -> None:
    """Load the libraries, then set the limit of memory."""
    import tasks.grading.algebra  # noqa: F401

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is not None:
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def asked(seconds: int, grader: type[GraderRules], method: str, *about: Any) -> Any:
    """What the named method of a grader returns, within `seconds` of processor time. Raises Unprepared where this
    process cannot grade."""
    ready()
    from tasks.grading.algebra import Sympy

    _within(seconds)
    try:
        return getattr(grader(Sympy()), method)(*about)
    finally:
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))  # the next one starts with all of its time


def _within(seconds: int) -> None:
    """The system kills this process once it has worked so long from here on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
