"""`{date}` and `{time}` in paths: filled from the moment a job was due, refused where there is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.configuration.parsing import from_values
from tasks.configuration.placeholders import Due, fill
from tasks.errors import UserError

DUE = Due(datetime(2026, 11, 21, 0, 30, 5, tzinfo=timezone(timedelta(hours=1))), 4711)


def test_both_are_filled_in_utc(configured: Callable[..., Config]) -> None:
    config = configured().model_copy(deep=True)
    config = config.model_copy(update={"output": config.output.model_copy(update={"path": "s3://b/{date}/{time}/{x}"})})
    assert fill(config, DUE).output.path == "s3://b/2026-11-20/233005/{x}"


def test_where_nothing_is_due_they_are_refused(configured: Callable[..., Config]) -> None:
    with pytest.raises(
        UserError, match=r"output.path: \{date\} is filled in where a Prefect deployment runs; here, give"
    ):
        configured(output="runs/{date}")
    with pytest.raises(UserError, match=r"input.path: \{time\} is filled in"):
        configured(input="in-{time}.parquet")


def test_other_braces_are_part_of_a_path(configured: Callable[..., Config]) -> None:
    assert configured(output="/runs/{model}-{}").output.path == "/runs/{model}-{}"


def test_an_evaluations_benchmarks_too() -> None:
    models = {"target": {"model": "owner/name"}}
    values = {
        "benchmarks": [{"name": "ours", "path": "/problems/{date}.parquet"}],
        "methods": [{"method": "target"}],
        "output": {"path": "/evaluations/{date}"},
        "models": models,
    }
    config = from_values(EvaluationConfig, values, [], "config", DUE)
    assert config.output.path == "/evaluations/2026-11-20"
    assert config.benchmarks[0].path == "/problems/2026-11-20.parquet"
    with pytest.raises(UserError, match=r"benchmarks.0.path: \{date\} is filled in .* \(--set benchmarks.0.path="):
        from_values(EvaluationConfig, values, ["output.path=/there"], "config")
