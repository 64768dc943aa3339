"""Whether a Prefect server records this run. If none does, a flow is called as a plain function, its stages are no
tasks, and nothing is made for Prefect's UI."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from tasks.errors import Told

P = ParamSpec("P")
T = TypeVar("T")

UNHEARD = logging.getLogger("stepwave.unheard")
"""Drops lines for a flow run's log when there is no flow run. What matters is on stderr."""
UNHEARD.addHandler(logging.NullHandler())
UNHEARD.propagate = False


class _WithoutTraceback(logging.Filter):
    """Log our own errors once and in one line. Prefect would log them twice, with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if not isinstance(error, Told):
            return True
        if error.logged:
            return False
        error.logged = True
        record.msg, record.args = "%s: %s", (type(error).__name__, error)
        record.exc_info = record.exc_text = None
        return True


for _logger in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_logger).addFilter(_WithoutTraceback())


def recorded() -> bool:
    """Is this a Prefect flow run?"""
    return FlowRunContext.get() is not None


def log() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The flow run's log."""
    return get_run_logger() if recorded() else UNHEARD


def stage(name: str, run_name: str) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """A coroutine function that is a Prefect task in a flow run. `run_name` may hold its parameters in braces."""

    def of(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        # arguments may be engines: nothing is made of them that would be kept
        as_task = task(name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)(function)

        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await (as_task if recorded() else function)(*args, **kwargs)

        return call

    return of
