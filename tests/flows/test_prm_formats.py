"""Whole runs on scripted engines with a judge, with the target as its own judge, and with no reward model at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from invariants import check, read_tables
from polars.testing import assert_frame_equal

from flows.check import check as look
from flows.check import lines
from schemas.config import Config
from tasks.configuration.parsing import parse_config
from tasks.errors import UserError

pytestmark = pytest.mark.tier2

JUDGE = "models.prm={same_as: target, format: judge}"
CONFIDENCE = "models.prm={format: confidence}"
Job = Callable[..., Config]


@pytest.mark.parametrize(
    "changes",
    [
        [JUDGE, "models.target.engine.max_model_len=400", "decoding.max_tokens=4096"],
        [JUDGE, "run.sharing=turns", "decoding.accept={threshold: auto, target_share: 0.3}"],
        ["models.prm={same_as: draft, format: rlhflow}", "decoding.method=best_of_n"],
        [JUDGE, "decoding.method=beam", "decoding.candidates=2"],  # the target writes nothing, and judges
        [CONFIDENCE, "decoding.accept={threshold: auto, target_share: 0.3}"],
        ["models.prm={format: confidence, over: min}", "decoding.method=process_best_of_n", "decoding.candidates=2"],
    ],
)
def test_the_invariants_hold(job: Job, generate: Any, mixed: str, out: Path, changes: list[str]) -> None:
    manifest = generate(job("input.limit=20", "decoding.samples=3", *changes))
    check(out, mixed)
    _, steps = read_tables(out)
    assert steps["reward"].n_unique() > 20
    if CONFIDENCE.rstrip("}") in changes[0]:
        assert steps["prm_tokens"].sum() == 0
        assert "prm" not in manifest["models"]
    else:
        assert steps.filter(pl.col("reward").is_not_null())["prm_tokens"].min() >= 0
        assert manifest["computed"]["prm"]["requests"] > 0


def test_a_shared_engine_is_started_once_and_writes_what_two_would(
    job: Job, generate: Any, models: Path, tmp_path: Path
) -> None:
    own = f"models.prm={{model: {models / 'target'}, format: judge, engine: {{kind: scripted, max_model_len: 2048}}}}"
    for name, prm in (("one", JUDGE), ("two", own)):
        generate(job(prm, "input.limit=20", output=str(tmp_path / name)))
    for one, two in zip(read_tables(tmp_path / "one"), read_tables(tmp_path / "two"), strict=True):
        assert_frame_equal(one, two)  # run_id included: where the PRM is served is no part of what makes a run
    accounts = json.loads((tmp_path / "one" / "manifest.json").read_text())["accounts"]["roles"]
    assert accounts["prm"]["starting"] == 0
    assert 0 < accounts["prm"]["busy"] <= accounts["prm"]["ready"]


def test_what_is_resolved_means_the_same(job: Job) -> None:
    for prm in (JUDGE, CONFIDENCE):
        config = job(prm)
        assert parse_config(json.dumps(config.model_dump(mode="json")), [], "config.yaml") == config


def test_check_says_whose_engine_serves_the_reward_model(job: Job) -> None:
    told = "\n".join(lines(look(job(JUDGE))))
    assert "in the target's engine" in told
    assert "rewards are writers' own confidence, by the mean of" in "\n".join(lines(look(job(CONFIDENCE))))


@pytest.mark.parametrize(
    ("prm", "words"),
    [
        ("{same_as: target}", "same_as is for format shepherd, rlhflow, judge, not qwen"),
        ("{same_as: target, format: judge, model: m}", "model must be left out: same_as uses the target's"),
        ("{format: confidence, engine: {dtype: float32}}", "engine must be left out: confidence uses no model"),
        ("{format: judge}", "model is missing"),
        ("{model: m, format: judge, over: min}", "over is for format confidence, not judge"),
    ],
)
def test_what_does_not_fit_together_is_told(job: Job, prm: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        job(f"models.prm={prm}")


def test_a_role_that_is_not_there_cannot_be_the_judge(job: Job) -> None:
    with pytest.raises(UserError, match=r"models\.prm\.same_as: there is no models\.target"):
        job(JUDGE, "models.target=null", "decoding.method=process_best_of_n", "decoding.candidates=2")
