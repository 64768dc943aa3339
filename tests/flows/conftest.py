"""Flows are run in this process, on scripted engines, against one Prefect server for all tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.config import Config


@pytest.fixture(scope="session")
def prefect() -> Iterator[str]:
    """Address of a Prefect API that lives as long as the tests."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    quick = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_TO_API_ENABLED: False}
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(quick):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def generate(prefect: str) -> Callable[[Config], dict[str, Any]]:
    """Run the flow; returns the manifest."""
    from flows.generate import generate as flow

    return lambda config: asyncio.run(flow(config))


MIXED: dict[str, list[Any]] = {"problem": [], "problem_id": [], "answer": [], "level": []}
for n in range(60):
    text: str | None = f"Milo has {n} spoons. Ivan has {n % 7} more. How many has Ivan?"
    MIXED["problem"].append({8: None, 17: "   ", 33: "spoon " * 3000}.get(n, text))
    MIXED["problem_id"].append({3: None, 21: "", 40: "p05"}.get(n, f"p{n:02d}"))
    MIXED["answer"].append(str(n + n % 7) if n in (1, 2, 3) else None)
    MIXED["level"].append(n % 5)
"""Sixty rows: two without a problem, one too long, one whose id an earlier row has, two without ids."""


@pytest.fixture
def mixed(problem_set: Callable[..., str]) -> str:
    return problem_set(MIXED)


@pytest.fixture
def job(configured: Callable[..., Config], mixed: str) -> Callable[..., Config]:
    """A run over the mixed rows: two samples, small shards and cohorts, some of every end."""
    usual = [
        "decoding.samples=2",
        "decoding.temperature=0.8",
        "decoding.max_tokens=90",
        "decoding.max_steps=6",
        "decoding.accept.threshold=0.5",
        "run={shard_size: 13, cohort_size: 7, cohorts: 3}",
    ]
    return lambda *changes, **paths: configured(*usual, *changes, **({"input": mixed} | paths))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where `job` writes unless told otherwise."""
    return tmp_path / "out"
