"""`stepwave export` on a run of the flow."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from flows.terminal.interruption import SIGNALS
from schemas.config import Config

Command = Callable[..., Said]


def test_every_row_is_found_again_in_its_run(
    stepwave: Command,  # noqa: F811
    job: Callable[..., Config],
    generate: Any,
    out: Path,
    tmp_path: Path,
) -> None:
    generate(job())
    solutions = pl.read_parquet(out / "solutions/*.parquet")
    steps = pl.read_parquet(out / "steps/*.parquet")
    of = ["run_id", "problem_id", "sample"]

    code, said, _ = stepwave("export", "sft", str(out), f"{tmp_path}/sft", "--answers", "any", "--json")
    assert code == 0
    done = json.loads(said)
    assert done["output"] == f"{tmp_path}/sft"
    assert done["seen"]["attempts"] == len(steps)
    found = pl.read_parquet(tmp_path / "sft/data/*.parquet").join(solutions, on=of)
    assert len(found) == sum(done["rows"].values()) > 20
    assert found["messages"].list.last().struct.field("content").to_list() == found["solution"].to_list()

    every = ["--splits", "none", "--margin", "-1"]
    code, said, _ = stepwave("export", "step-dpo", str(out), f"{tmp_path}/pairs", *every)
    assert code == 0
    assert "dataset" in said
    pairs = pl.read_parquet(tmp_path / "pairs/data/*.parquet").with_columns(pl.col("step").cast(pl.Int32))
    at = [*of, "step"]
    for role in ("chosen", "rejected"):
        attempts = steps.select(*at, pl.col("attempt").alias(f"{role}_attempt"), "text", "accepted", "reward")
        known = pairs.join(attempts, on=[*at, f"{role}_attempt"], maintain_order="left")
        assert known["text"].to_list() == pairs[role].to_list()
        if role == "chosen":
            later = pl.read_parquet(out / "rewards/*.parquet").rename({"attempt": "chosen_attempt"}).drop("reward")
            assert known["reward"].null_count() == len(pairs) == len(pairs.join(later, on=[*at[1:], "chosen_attempt"]))
        else:
            assert known["reward"].to_list() == pairs[f"{role}_reward"].to_list()
        assert known["accepted"].all() == (role == "chosen")
    again = steps.filter(pl.col("accepted") & (pl.col("role") == "target"))
    assert 0 < len(pairs) <= len(again)

    assert stepwave("export", "prm", str(out), f"{tmp_path}/prm", "--unscored", "drop")[0] == 0
    labelled = pl.read_parquet(tmp_path / "prm/data/*.parquet")
    last = labelled.join(steps, on=[*at, "attempt"], maintain_order="left")
    separator = job().prompt.separator
    assert last["completions"].list.last().to_list() == last["text"].str.strip_suffix(separator).to_list()
    assert (labelled["labels"].list.len() == labelled["step"] + 1).all()
    assert (last["labels"].list.last() == (last["reward"] >= 0.5)).all()


def test_rewards_asked_for_later_leave_the_run_as_it_is(
    stepwave: Command,  # noqa: F811
    job: Callable[..., Config],
    generate: Any,
    out: Path,
    tmp_path: Path,
) -> None:
    config = job("input.limit=26")
    manifest = generate(config)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert stepwave("export", "step-dpo", str(out), f"{tmp_path}/pairs")[0] == 0
    assert len(list((out / "rewards").iterdir())) == manifest["shards"] == 2
    assert before.items() <= {path: path.read_bytes() for path in out.rglob("*.*")}.items()
    assert stepwave("status", str(out))[0] == stepwave("report", str(out))[0] == 0
    assert generate(config) == manifest


def test_mistakes_are_told_in_a_line(stepwave: Command, tmp_path: Path) -> None:  # noqa: F811
    none = str(tmp_path / "none")
    is_mistake(stepwave("export", "sft", none, f"{tmp_path}/data"), none, "there is nothing here")
    is_mistake(stepwave("export", "sft", none), "name the output of a run")
    is_mistake(stepwave("export", "grpo", none, f"{tmp_path}/data"), "'grpo'", "step-dpo")
    is_mistake(stepwave("export", "sft", none, f"{tmp_path}/data", "--margin", "1"), "--margin", "dpo")
    is_mistake(stepwave("export", "sft", none, f"{tmp_path}/data", "--per-problem", "few"), "--per-problem")
    is_mistake(stepwave("export", "sft", none, f"{tmp_path}/data", "--set", "input.limit=3"), "only storage.*")
    is_mistake(stepwave("export", "sft", "gs://x/y", f"{tmp_path}/data"), "gs://")


def test_an_interrupted_export_leaves_nothing_behind(
    stepwave: Command,  # noqa: F811
    job: Callable[..., Config],
    generate: Any,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate(job("input.limit=12"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("tasks.export.dataset.Export._choose", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = {number: signal.getsignal(number) for number in SIGNALS}
    code, said, told = stepwave("export", "sft", str(out), f"{tmp_path}/data", "--answers", "any")
    for number, handler in before.items():
        signal.signal(number, handler)
    assert (code, said) == (130, "")
    assert f"interrupted; to do it anew: stepwave export sft {out} {tmp_path}/data --answers any" in told
    assert list((tmp_path / "data").iterdir()) == list(scratch.iterdir()) == []


@pytest.mark.parametrize("changes", [["decoding.method=beam", "decoding.candidates=3"], ["decoding.method=majority"]])
def test_other_methods(
    stepwave: Command,  # noqa: F811
    job: Callable[..., Config],
    generate: Any,
    out: Path,
    tmp_path: Path,
    changes: list[str],
) -> None:
    generate(job(*changes, "input.limit=12"))
    is_mistake(stepwave("export", "step-dpo", str(out), f"{tmp_path}/pairs"), "has no target that rewrites steps")
    assert stepwave("export", "sft", str(out), f"{tmp_path}/sft", "--answers", "any")[0] == 0
    said = stepwave("export", "prm", str(out), f"{tmp_path}/prm")
    if "beam" in changes[0]:
        assert said[0] == 0
        found = pl.read_parquet(tmp_path / "prm/data/*.parquet")
        of = ["problem_id", "sample", "step"]
        steps = pl.read_parquet(out / "steps/*.parquet")
        before = steps.filter("accepted").select(*of[:2], pl.col("step") + 1, continued="attempt")
        rows = found.filter(pl.col("step") > 0).join(steps, on=[*of, "attempt"]).join(before, on=of)
        assert (rows["parent"] == rows["continued"]).all()
        assert set(rows["accepted"]) == {True, False}
    else:
        assert said[0] == 0
        steps = pl.read_parquet(out / "steps/*.parquet").sort("problem_id", "sample", "step")
        none = (pl.col("finish") == "length") | (pl.col("text").str.strip_chars() == "")
        whole = steps.filter(none.cum_sum().over("problem_id", "sample") == 0)
        assert 0 < len(pl.read_parquet(out / "rewards/*.parquet")) == len(whole) < len(steps)
        shutil.rmtree(out / "rewards")
        none = stepwave("export", "prm", str(out), f"{tmp_path}/none", "--unscored", "drop")
        is_mistake(none, "method majority has no rewards", "--labels answer")
