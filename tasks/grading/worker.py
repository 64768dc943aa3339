"""The code that runs in a grading process: one verdict at a time, within limits of memory and processor time."""

from __future__ import annotations

import logging
from typing import Any

from tasks.grading.graders import GraderRules
from tasks.processes import limit_memory, limit_work, unlimit_work

MEMORY = 384 << 20
"""Bytes that a process may take beyond what it has once its libraries stand."""


unprepared: list[str] = []
"""Why this process cannot grade."""


class Unprepared(Exception):
    """This process cannot grade, whatever it is asked."""


def prepare(*graders: type[GraderRules]) -> None:
    """Prepare a grading process; it does this first. If it fails, every verdict raises Unprepared, for the pool would
    start others. `graders` are all that it may be asked for: what they import stands before memory is limited."""
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
    limit_memory(MEMORY)


def asked(seconds: int, grader: type[GraderRules], method: str, *about: Any) -> Any:
    """Returns what the named method of a grader returns, within `seconds` of processor time. Raises Unprepared if this
    process cannot grade."""
    ready()
    from tasks.grading.algebra import Sympy

    limit_work(seconds)
    try:
        return getattr(grader(Sympy()), method)(*about)
    finally:
        unlimit_work()  # the next one starts with all of its time
