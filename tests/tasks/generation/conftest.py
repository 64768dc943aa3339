"""Fixtures of tests that let many processes work on one disk in memory."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from disks import CLOCK
from small_runs import write_problems

from schemas.config import Config
from tasks.configuration.parsing import parse_config
from tasks.storage import store_clock


@pytest.fixture(scope="module")
def at_once() -> Iterator[pytest.MonkeyPatch]:
    """What goes to a thread elsewhere is done at once here: the schedule decides everything."""

    async def call(act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return act(*arguments, **named)

    @functools.cache
    def parsed(text: str, _: str, name: str) -> Config:
        return parse_config(text, [], name)

    with pytest.MonkeyPatch.context() as patch:
        # half of the time goes into reading YAML otherwise
        patch.setattr(
            "tasks.configuration.parsing.parse_config", lambda text, changes, name: parsed(text, str(changes), name)
        )
        patch.setattr(asyncio, "to_thread", call)
        patch.setattr(store_clock, "time", CLOCK)
        patch.setattr("tasks.output.session.secrets", CLOCK)
        yield patch


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The problem set of small runs."""
    path = tmp_path_factory.mktemp("small") / "problems.parquet"
    write_problems(str(path))
    return str(path)
