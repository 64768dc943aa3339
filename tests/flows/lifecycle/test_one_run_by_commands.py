"""Fleets, evaluations, calibrations and roll-outs keep to the models and the day of their runs as well."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from lifecycle.begun_runs import dated, mistake
from replaced import REPLACED, copied

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from schemas.rollouts import RolloutOptions
from tasks.calibration.recommendation import Wish
from tasks.export.rollouts import request as rolling

pytestmark = pytest.mark.tier2

Generate = Callable[[Config], dict[str, Any]]

Job = Callable[..., Config]

Whole = Callable[[], pl.DataFrame]


def test_a_flow_run_of_a_fleet_has_the_same_models_and_day(
    begun: Callable[[str], None],
    begin: Callable[..., None],
    whole: Whole,
    job: Job,
    out: Path,
    tmp_path: Path,
    day: Callable[[int], None],
) -> None:
    from flows.shards import generate_shards

    begun("stopped")
    config = job(*copied(tmp_path / "models", "target"))
    REPLACED["weights"][0](tmp_path / "models" / "target")
    before = list((out / "shards").iterdir())
    told = mistake(lambda: asyncio.run(generate_shards(config, 1, 1)))
    assert "models.target: other weights" in told
    assert list((out / "shards").iterdir()) == before

    dated_job = job(*dated(tmp_path / "dated", "draft"), output=str(tmp_path / "days"))
    day(5)
    begin(dated_job, "stopped")
    day(6)
    assert asyncio.run(generate_shards(dated_job, 1, 1)) > 0
    of_day = json.loads((tmp_path / "days" / "shards" / "00001.json").read_text())["identity"]["models"]["draft"][
        "date"
    ]
    assert of_day == "2026-01-05"


def test_an_evaluation_is_of_one_day_and_of_the_same_models(
    prefect: str, job: Job, mixed: str, tmp_path: Path, day: Callable[[int], None]
) -> None:
    from flows.evaluate import evaluate

    values = job(*dated(tmp_path / "models", "draft", "target")).model_dump(mode="json")
    given = {
        "benchmarks": [{"name": "mixed", "path": mixed, "limit": 20}],
        "methods": [{"method": "draft"}],
        "output": {"path": str(tmp_path / "evaluation")},
        "decoding": {"max_tokens": 60, "max_steps": 3},
        "run": values["run"],
        "models": values["models"],
    }
    day(5)
    asyncio.run(evaluate(EvaluationConfig.model_validate(given)))
    day(6)
    given["methods"] = [{"method": "draft"}, {"method": "target"}]
    asyncio.run(evaluate(EvaluationConfig.model_validate(given)))
    configs = [yaml.safe_load(path.read_text()) for path in (tmp_path / "evaluation" / "runs").rglob("config.yaml")]
    assert [config["prompt"]["date"] for config in configs] == ["2026-01-05"] * 2
    REPLACED["weights"][0](tmp_path / "models" / "draft")
    told = mistake(lambda: asyncio.run(evaluate(EvaluationConfig.model_validate(given))))
    assert "models.draft: other weights" in told


def test_a_calibration_is_of_one_day_and_takes_nothing_from_other_models(
    generate: Generate, job: Job, out: Path, tmp_path: Path, day: Callable[[int], None]
) -> None:
    from flows.calibrate import calibrate

    def report(place: str, *thresholds: float) -> dict[str, Any]:
        return asyncio.run(calibrate(config, str(tmp_path / place), Wish("target_share", 0.5), list(thresholds), 30))

    config = job(*dated(tmp_path / "models", "draft"), "input.limit=30")
    day(5)
    generate(config)
    day(6)
    assert report("first", 0.3)["tokens"]["reused_attempts"] > 0, "the run at the output is of the day before"
    day(7)
    assert report("first", 0.3, 0.8)["tokens"]["reused_attempts"] > 0
    for path in (tmp_path / "first" / "runs").rglob("config.yaml"):
        assert yaml.safe_load(path.read_text())["prompt"]["date"] == "2026-01-05"
    REPLACED["weights"][0](tmp_path / "models" / "target")
    assert report("second", 0.3)["tokens"]["reused_attempts"] == 0
    assert "models.target: other weights" in mistake(lambda: report("first", 0.3))


@pytest.mark.parametrize("change", ["weights", "chat template", "end of text"])
def test_rollouts_go_on_with_what_wrote_the_solutions(
    begun: Callable[[str], None], job: Job, out: Path, tmp_path: Path, change: str
) -> None:
    begun("complete")
    copied(tmp_path / "models", "target")
    kept = (out / "config.yaml").read_text()
    values = yaml.safe_load(kept)
    values["models"]["target"]["model"] = str(tmp_path / "models" / "target")
    (out / "config.yaml").write_text(yaml.safe_dump(values))

    def choose(place: str, *changes: str) -> Any:
        options = RolloutOptions(samples=2, share=0.5)
        return rolling.choose_steps(rolling.read_request(str(out), str(tmp_path / place), options, list(changes)))

    choose("first")
    REPLACED[change][0](tmp_path / "models" / "target")
    told = mistake(lambda: choose("second"))
    assert "models.target" in told
    assert not (tmp_path / "second").exists()
    shutil.copytree(tmp_path / "models", tmp_path / "named")
    (out / "config.yaml").write_text(kept)
    choose("third", f"models.target.model={tmp_path / 'named' / 'target'}")
