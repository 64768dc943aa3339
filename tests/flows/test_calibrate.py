"""Calibrations on scripted engines: every threshold's run is as it would be alone, and nothing is generated twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from invariants import check, read_tables
from polars.testing import assert_frame_equal

from flows.calibrate import conclusions, table
from flows.cli import application
from flows.status import status
from schemas.config import Config, Threshold
from tasks.calibration.directory import load, sealed
from tasks.calibration.recommendation import Wish
from tasks.decoding.requests import StepRequest
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import EngineError, UserError
from tasks.output.config_file import load_config
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]
Calibrate = Callable[..., dict[str, Any]]
SHARE = Wish("target_share", 0.5)
GIVEN = [0.3, 0.5, 0.8]


@pytest.fixture
def job(job: Job) -> Job:
    """The usual one, in fewer parts."""
    run = "run={shard_size: 25, in_flight: 100, checkpoint_seconds: 0, engine_restarts: 0}"
    return lambda *changes, **paths: job(run, "input.limit=45", *changes, **paths)


@pytest.fixture
def calibrate(prefect: str, tmp_path: Path) -> Calibrate:
    from flows.calibrate import calibrate as flow

    def run(config: Config, wish: Wish = SHARE, thresholds: list[float] | None = GIVEN, **more: Any) -> dict[str, Any]:
        return asyncio.run(flow(config, str(more.pop("out", tmp_path / "cal")), wish, thresholds, **more))

    return run


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[StepRequest]:
    """Every ask that an engine answers from here on."""
    asks: list[StepRequest] = []
    usual = ScriptedEngine.ask

    async def noted(self: ScriptedEngine, asked: Any, answered: Any) -> Any:
        asks.extend(
            StepRequest(ask.prompt[:], ask.max_tokens, ask.seed) for ask in asked if isinstance(ask, StepRequest)
        )
        return await usual(self, asked, answered)

    monkeypatch.setattr(ScriptedEngine, "ask", noted)
    return asks


def same(one: Path, other: Path) -> None:
    for a, b in zip(read_tables(one), read_tables(other), strict=True):
        assert_frame_equal(a.select(pl.exclude("wave")), b.select(pl.exclude("wave")))


def runs_of(cal: Path, thresholds: list[float]) -> list[Path]:
    return [cal / "runs" / f"threshold-{d:g}" for d in thresholds]


def test_each_threshold_is_as_a_run_of_its_own(
    calibrate: Calibrate, generate: Any, job: Job, mixed: str, tmp_path: Path, written: list[StepRequest]
) -> None:
    report = calibrate(job())
    asked = [(tuple(ask.prompt), ask.seed) for ask in written]
    assert len(asked) == len(set(asked))
    alone: set[Any] = set()
    tokens = 0
    for d, out in zip(GIVEN, runs_of(tmp_path / "cal", GIVEN), strict=True):
        check(out, mixed)
        written.clear()
        generate(job(f"decoding.accept.threshold={d}", output=str(tmp_path / f"alone-{d}")))
        same(out, tmp_path / f"alone-{d}")
        alone |= {(tuple(ask.prompt), ask.seed) for ask in written}
        steps = read_tables(out)[1]
        tokens += steps["tokens"].sum()
        row = next(row for row in report["thresholds"] if row["threshold"] == d)
        kept = steps.filter("accepted")
        assert row["target_share"] == pytest.approx((kept["role"] == "target").mean())
        assert row["target_share_low"] < row["target_share"] < row["target_share_high"]
        assert status(str(out), Stores())["state"] == "complete"
    assert set(asked) == alone
    assert sum(report["tokens"]["separate"].values()) == tokens
    assert sum(report["tokens"]["generated"].values()) < 0.7 * tokens


def test_what_is_left_is_whole_and_can_be_used(calibrate: Calibrate, generate: Any, job: Job, tmp_path: Path) -> None:
    report = calibrate(job())
    cal = tmp_path / "cal"
    kept = load(Store(str(cal)))
    assert kept is not None
    assert kept.items() >= json.loads(json.dumps(report)).items()
    chosen = report["recommendation"]["threshold"]
    within = [row for row in report["thresholds"] if row["target_share"] <= 0.5]
    assert chosen == max(within, key=lambda row: row["target_share"])["threshold"]
    config = load_config(str(cal / "recommended.yaml"), [])
    assert config.decoding.accept.threshold == chosen  # type: ignore[union-attr]
    assert config.input.limit == 45
    manifest = generate(config)
    assert manifest["counts"]["target_steps"] / manifest["counts"]["steps"] <= 0.5
    assert len(table(report)) == 4
    assert any(f"threshold {chosen:g}" in line for line in conclusions(report))
    (cal / "calibration.json").write_bytes((cal / "calibration.json").read_bytes()[:-40])
    assert load(Store(str(cal))) is None


def test_a_share_leads_to_thresholds_that_nobody_named(calibrate: Calibrate, job: Job) -> None:
    report = calibrate(job(), Wish("target_share", 0.2), None)
    assert len(report["thresholds"]) > 5
    chosen = next(r for r in report["thresholds"] if r["threshold"] == report["recommendation"]["threshold"])
    assert 0.15 < chosen["target_share"] <= 0.2


def test_again_it_has_nothing_to_do(calibrate: Calibrate, job: Job, written: list[StepRequest]) -> None:
    first = calibrate(job())
    written.clear()
    again = calibrate(job())
    assert not written
    assert again | {"finished": None} == first | {"finished": None}


def test_more_thresholds_cost_what_is_new(
    calibrate: Calibrate, job: Job, tmp_path: Path, written: list[StepRequest]
) -> None:
    calibrate(job(), thresholds=[0.5])
    calibrate(job(), thresholds=[0.3, 0.8])
    later = calibrate(job())
    asked = len(written)
    written.clear()
    at_once = calibrate(job(), out=tmp_path / "other")
    assert asked == len(written)
    assert later["tokens"] == at_once["tokens"]
    for a, b in zip(runs_of(tmp_path / "cal", GIVEN), runs_of(tmp_path / "other", GIVEN), strict=True):
        same(a, b)


def test_a_run_at_the_output_is_not_made_again(
    calibrate: Calibrate, generate: Any, job: Job, tmp_path: Path, written: list[StepRequest]
) -> None:
    generate(job())
    before = {(tuple(ask.prompt), ask.seed) for ask in written}
    written.clear()
    report = calibrate(job("run.shard_size=20"))
    assert not before & {(tuple(ask.prompt), ask.seed) for ask in written}
    assert report["tokens"]["reused_attempts"] == len(before)
    recommended = load_config(str(tmp_path / "cal" / "recommended.yaml"), [])
    generate(recommended)  # beside the run that is there, if that has another threshold
    calibrate(job("decoding.temperature=0.7"), out=tmp_path / "warmer")  # another run's attempts are not taken
    assert read_tables(tmp_path / "warmer" / "runs" / "threshold-0.5")[1]["seed"].len() > 0
    assert load(Store(str(tmp_path / "warmer")))["tokens"]["reused_attempts"] == 0  # type: ignore[index]


@pytest.mark.parametrize("calls", [0, 25])
def test_one_that_was_stopped_goes_on(
    calibrate: Calibrate, job: Job, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, left = ScriptedEngine.ask, iter(range(calls))

    async def dying(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if isinstance(asks[0], StepRequest) and next(left, None) is None:
            raise EngineError("out of memory")
        return await usual(self, asks, answered)

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", dying)
        with pytest.raises(EngineError, match="out of memory"):
            calibrate(job())
    assert not (tmp_path / "cal" / "calibration.json").exists()
    calibrate(job())
    calibrate(job(), out=tmp_path / "straight")
    for a, b in zip(runs_of(tmp_path / "cal", GIVEN), runs_of(tmp_path / "straight", GIVEN), strict=True):
        check(a)
        same(a, b)


def test_failed_rows_are_told(calibrate: Calibrate, job: Job, mixed: str, tmp_path: Path) -> None:
    report = calibrate(job("models.draft.engine.refuse=' 5 spoons.'"))
    assert report["failed"] == 2 * len(GIVEN)
    for out in runs_of(tmp_path / "cal", GIVEN):
        check(out, mixed)


# --- mistakes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["decoding.method=target"], "decoding.method: target has no threshold"),
        (["decoding.accept.rule=clip"], "decoding.accept.rule: calibrate is for the rule threshold, not clip"),
    ],
)
def test_what_has_no_threshold_is_refused(calibrate: Calibrate, job: Job, changes: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        calibrate(job(*changes))


def test_a_place_that_holds_something_else_is_refused(calibrate: Calibrate, job: Job, tmp_path: Path) -> None:
    place = tmp_path / "cal"
    place.mkdir()
    (place / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"not a calibration's \(such as thesis.tex\); give --out"):
        calibrate(job())
    shutil.rmtree(place)
    calibrate(job())
    with pytest.raises(UserError, match=r"threshold-0.3: holds a run of another .*give another --out"):
        calibrate(job("decoding.seed=7"), thresholds=[0.9])


def test_a_place_that_holds_a_run_is_refused(calibrate: Calibrate, generate: Any, job: Job, tmp_path: Path) -> None:
    """Also one that found its threshold, and keeps it under the name of a calibration's."""
    config = job("decoding.accept.threshold=auto", "decoding.accept.target_share=0.3")
    generate(config)
    kept = (Path(config.output.path) / "calibration.json").read_bytes()
    with pytest.raises(UserError, match="holds a run; give --out a place of its own"):
        calibrate(job(), out=Path(config.output.path))
    assert (Path(config.output.path) / "calibration.json").read_bytes() == kept


def test_answers_that_cannot_be_read_are_no_accuracy(
    calibrate: Calibrate, job: Job, problem_set: Callable[..., str]
) -> None:
    path = problem_set({"problem": ["How many?"], "answer": ["\\\\frac{1}{"]}, "odd.parquet")
    with pytest.raises(UserError, match=r"no problem's answer can be read.*--target-share"):
        calibrate(job(input=path), Wish("tolerance", 0.01))


def test_accuracy_without_answers_is_refused(
    calibrate: Calibrate, job: Job, problem_set: Callable[..., str], written: list[StepRequest]
) -> None:
    path = problem_set({"problem": ["How many?", "And now?"]}, "bare.parquet")
    with pytest.raises(UserError, match=r"the problems have no answers.*--target-share"):
        calibrate(job(input=path), Wish("tolerance", 0.01))
    assert not written
    report = calibrate(job(input=path), Wish("flops", 1e30))
    assert {row["accuracy"] for row in report["thresholds"]} == {None}
    assert report["recommendation"]["threshold"] is not None
    assert "unknown" in table(report)[1]


def test_a_wish_that_no_threshold_meets(calibrate: Calibrate, job: Job, tmp_path: Path) -> None:
    report = calibrate(job(), Wish("target_share", 0.01))
    assert report["recommendation"]["threshold"] is None
    assert "try lower thresholds" in report["recommendation"]["why"]
    assert not (tmp_path / "cal" / "recommended.yaml").exists()


def test_another_wish_leaves_what_is_recommended(calibrate: Calibrate, job: Job, tmp_path: Path) -> None:
    cal, thresholds = tmp_path / "cal", [0.3, 0.8]

    def files() -> dict[str, float]:
        found = {path.name: load_config(str(path), []).decoding.accept for path in cal.glob("recommended*.yaml")}
        return {name: accept.threshold for name, accept in found.items() if isinstance(accept, Threshold)}

    none = calibrate(job(), Wish("target_share", 0.0), thresholds)
    assert (none["file"], files()) == (None, {})
    first = calibrate(job(), Wish("flops", 1e30), thresholds)
    kept = (cal / "recommended.yaml").read_bytes()
    assert first["file"] == "recommended.yaml"
    assert not any("stays" in line for line in conclusions(first))
    share = calibrate(job(), Wish("target_share", 0.6), thresholds)
    assert share["file"] == "recommended-target-share-0.6.yaml"
    assert f"generate {cal}/recommended-target-share-0.6.yaml" in "\n".join(conclusions(share))
    stays = (
        f"recommended.yaml stays as it was, threshold {first['recommendation']['threshold']:g} for at most 1e+30 FLOPs"
    )
    assert any(line.startswith(stays) for line in conclusions(share))
    other = calibrate(job(), Wish("target_share", 0.0), thresholds)
    assert other["file"] is None
    assert calibrate(job(), Wish("target_share", 0.6), thresholds)["file"] == share["file"]
    assert (cal / "recommended.yaml").read_bytes() == kept
    assert files() == {
        "recommended.yaml": first["recommendation"]["threshold"],
        share["file"]: share["recommendation"]["threshold"],
    }
    assert calibrate(job(), Wish("flops", 1e30), thresholds)["file"] == "recommended.yaml"


@pytest.mark.parametrize("damaged", [False, True])
def test_of_an_earlier_release_or_beside_a_damaged_record(
    calibrate: Calibrate, job: Job, tmp_path: Path, damaged: bool
) -> None:
    first = calibrate(job(), Wish("flops", 1e30), [0.5])
    store = Store(str(tmp_path / "cal"))
    old = {
        name: value for name, value in (load(store) or {}).items() if name not in ("recommended", "file", "checksum")
    }
    store.write("calibration.json", b"{" if damaged else sealed(old))
    kept = (tmp_path / "cal" / "recommended.yaml").read_bytes()
    report = calibrate(job(), Wish("target_share", 1.0), [0.5])
    assert report["file"] == "recommended-target-share-1.yaml"
    assert (tmp_path / "cal" / "recommended.yaml").read_bytes() == kept
    assert any(line.startswith("recommended.yaml stays as it was") for line in conclusions(report))
    assert first["file"] == "recommended.yaml"


def test_a_prm_that_says_the_same_of_everything(calibrate: Calibrate, job: Job) -> None:
    report = calibrate(job(), Wish("flops", 1e30), [0.0001, 0.001])
    assert "keeps more than 98% of the draft's steps" in report["warning"]
    assert "--thresholds 0." in report["warning"]
    assert calibrate(job(), Wish("flops", 1e30), [0.5])["warning"] is None


# --- auto


AUTO = "decoding.accept={threshold: auto, target_share: 0.3}"


def test_a_run_finds_its_threshold(
    generate: Any,
    job: Job,
    mixed: str,
    out: Path,
    tmp_path: Path,
    written: list[StepRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.lifecycle.auto_threshold.PROBLEMS", 30)
    manifest = generate(job(AUTO))
    asked = [(tuple(ask.prompt), ask.seed) for ask in written]
    assert len(asked) == len(set(asked))
    found = manifest["calibration"]
    assert found["problems"] == 30
    check(out, mixed)
    assert read_tables(out)[1]["threshold"].drop_nulls().unique().to_list() == [np.float32(found["threshold"])]
    fixed = job(f"decoding.accept.threshold={found['threshold']}", output=str(tmp_path / "fixed"))
    generate(fixed)
    for a, b in zip(read_tables(out), read_tables(tmp_path / "fixed"), strict=True):
        assert_frame_equal(a.select(pl.exclude("wave", "run_id")), b.select(pl.exclude("wave", "run_id")))
    assert 0.2 < manifest["counts"]["target_steps"] / manifest["counts"]["steps"] < 0.4
    assert manifest["computed"]["draft"]["generated"] >= manifest["counts"]["draft_tokens"]
    written.clear()
    assert generate(job(AUTO))["calibration"] == found
    assert not written
    with pytest.raises(UserError, match=r"target_share: 0\.3 there, 0.4 here"):
        generate(job("decoding.accept={threshold: auto, target_share: 0.4}"))


@pytest.mark.parametrize("calls", [10, 40])
def test_a_run_that_was_stopped_keeps_to_what_it_found(
    generate: Any, job: Job, out: Path, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.lifecycle.auto_threshold.PROBLEMS", 20)
    monkeypatch.setattr("flows.lifecycle.auto_threshold.GRID", (0.3, 0.5))
    monkeypatch.setattr("flows.lifecycle.auto_threshold.ROUNDS", 1)
    generate(job(AUTO, output=str(tmp_path / "straight")))
    usual, left = ScriptedEngine.ask, iter(range(calls))

    async def dying(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if isinstance(asks[0], StepRequest) and next(left, None) is None:
            raise EngineError("out of memory")
        return await usual(self, asks, answered)

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", dying)
        with contextlib.suppress(EngineError):
            generate(job(AUTO))
    generate(job(AUTO))
    same(out, tmp_path / "straight")


def test_of_several_processes_one_finds_the_threshold(
    prefect: str, job: Job, out: Path, mixed: str, tmp_path: Path, generate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.generate import generate as flow

    monkeypatch.setattr("flows.lifecycle.auto_threshold.PROBLEMS", 20)
    monkeypatch.setattr("flows.lifecycle.auto_threshold.GRID", (0.3, 0.5))
    monkeypatch.setattr("flows.lifecycle.auto_threshold.ROUNDS", 1)
    monkeypatch.setattr("flows.lifecycle.stages.POLL", 0.01)
    slow = [f"models.{role}.engine.seconds=0.01" for role in ("draft", "target", "prm")]

    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(*(flow(job(AUTO, *slow)) for _ in range(2)))

    one, other = asyncio.run(both())
    assert one["calibration"] == other["calibration"]
    check(out, mixed)
    generate(job(AUTO, output=str(tmp_path / "alone")))
    same(out, tmp_path / "alone")


def test_where_every_problem_fails_a_run_ends_as_ever(generate: Any, job: Job, out: Path, mixed: str) -> None:
    manifest = generate(job(AUTO, "models.draft.engine.refuse=' spoons'", "input.limit=8"))
    check(out, mixed)
    assert manifest["counts"]["failed"] == manifest["counts"]["solutions"]


def test_on_s3(calibrate: Calibrate, generate: Any, job: Job, s3: str, tmp_path: Path) -> None:
    few = ["input.limit=6", "decoding.samples=1"]
    report = calibrate(job(*few, output=f"{s3}/runs/x"), thresholds=[0.5], out=f"{s3}/runs/x-calibration")
    local = calibrate(job(*few), thresholds=[0.5])
    for changing in ("finished", "output"):
        del report[changing], local[changing]
    assert report == local
    manifest = generate(job(AUTO, *few, output=f"{s3}/runs/y"))
    assert load(Store(f"{s3}/runs/y"))["recommendation"]["threshold"] == manifest["calibration"]["threshold"]  # type: ignore[index]


# --- the command line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--thresholds", "0.5,high"], "--thresholds: 'high' is not a number"),
        (["--thresholds", "0.5,1.5"], "1.5 is not between 0 and 1"),
        (["--target-share", "0.3", "--tolerance", "0.1"], "--target-share and --tolerance: give one of them"),
        (["--target-share", "30"], "--target-share: a share between 0 and 1"),
        (["--problems", "0"], "--problems: at least 1"),
        (["--set", "decoding.method=draft"], "decoding.method: draft has no threshold"),
    ],
)
def test_mistakes_are_told_in_a_line(
    job: Job, tmp_path: Path, words: list[str], told: str, prefect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = command(job, tmp_path, capsys, *words)
    assert said[0] == 2
    assert told in said[2]
    assert len(said[2].strip().splitlines()) == 1
    assert said[1] == ""


def test_the_table_and_the_json(job: Job, tmp_path: Path, prefect: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--thresholds", "0.3,0.8", "--target-share", "0.6", "--out", str(tmp_path / "cal")]
    code, printed, _ = command(job, tmp_path, capsys, *words)
    assert code == 0
    assert "tokens generated: " in printed
    assert f"to use it: stepwave generate {tmp_path}/cal/recommended.yaml" in printed
    code, printed, _ = command(job, tmp_path, capsys, *words, "--json")
    assert json.loads(printed)["recommendation"]["threshold"] in (0.3, 0.8)
    code, printed, told = command(job, tmp_path, capsys, *words[:2], "--target-share", "0.001", *words[4:])
    assert code == 2
    assert "no threshold that was tried meets the wish, at most 0.1% of the steps" in told
    assert "tokens generated: " in printed


def command(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str, str]:
    """`stepwave calibrate` on a job in this process: exit code, stdout, stderr."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job().model_dump(mode="json")))
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stepwave", "calibrate", str(path), *words])
        patch.setattr(logging, "raiseExceptions", False)  # handlers hold the stderr of an earlier test
        with pytest.raises(SystemExit) as ended:
            application.main()
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err
