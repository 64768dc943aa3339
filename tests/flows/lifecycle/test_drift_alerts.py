"""A run whose problems are not those of its calibration says so, once, and stops if it is told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from in_process import InProcess, in_process
from invariants import check, read_tables

from flows.lifecycle import drift_alerts
from flows.terminal import summary
from schemas.config import Config
from tasks.calibration.recommendation import Wish
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import UserError
from tasks.output.config_file import load_config
from tasks.output.directory import RunDirectory
from tasks.planning.plan import Plan
from tasks.storage.store import Store

__all__ = ["in_process"]

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Artifacts and events on drift, in the order in which they are sent."""
    found: list[tuple[str, Any]] = []

    async def artifact(**of: Any) -> None:
        if of["key"] == "stepwave-drift":
            found.append(("artifact", of))

    monkeypatch.setattr("flows.prefect_api.ui.acreate_markdown_artifact", artifact)
    monkeypatch.setattr("flows.prefect_api.ui.emit_event", lambda event, **of: found.append((event, of)))
    return found


@pytest.fixture
def lower(calibrated: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the calibration the PRM thinks less of every step: rewards have a mean of a third, where it was a half."""
    draw = random.Random.random

    def squared(self: random.Random) -> float:
        return 1 - draw(self) ** 0.5

    score = ScriptedEngine._score

    def scored(self: ScriptedEngine, prompt: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(random.Random, "random", squared)
            return score(self, prompt)

    monkeypatch.setattr(ScriptedEngine, "_score", scored)


@pytest.fixture
def calibrated(prefect: str, job: Job, tmp_path: Path) -> Config:
    """What a calibration on the first problems recommends, to be judged from 20 problems on."""
    from flows.calibrate import calibrate as flow

    stale = "drift={reward: [0, 0.01], problems: 1}"  # of another model's calibration
    config = job(stale, "input.limit=40")
    report = asyncio.run(flow(config, str(tmp_path / "cal"), Wish("target_share", 0.6), [0.5], 60))
    assert report["recommendation"]["threshold"] == 0.5
    return load_config(str(tmp_path / "cal" / "recommended.yaml"), ["input.limit=60", "drift.problems=20"])


def test_problems_like_the_calibrations_are_not_told_of(
    calibrated: Config, generate: Generate, told: list[Any], out: Path, mixed: str
) -> None:
    drift = calibrated.drift
    assert drift is not None
    assert drift.target_share is not None
    assert drift.reward is not None
    assert drift.target_share[0] < 0.5 < drift.target_share[1]
    assert drift.reward[0] < 0.5 < drift.reward[1]
    manifest = generate(calibrated)
    check(out, mixed)
    assert told == []
    assert [(f["name"], f["outside"], f["problems"]) for f in manifest["drift"]] == [
        ("target_share", False, 56),
        ("reward", False, 56),
    ]
    counts, (share, reward) = manifest["counts"], manifest["drift"]
    assert share["value"] == counts["target_steps"] / counts["steps"]
    rewards = read_tables(out)[1]["reward"].drop_nulls().cast(pl.Float64)
    assert reward["value"] == pytest.approx(rewards.mean())
    assert ("drift", f"the mean reward of 56 problems was {reward['value']:.4f}") in [
        (name, text.split(", within")[0]) for name, text in summary.table(manifest)
    ]


@pytest.mark.usefixtures("lower")
def test_other_problems_are_told_of_once(
    calibrated: Config, generate: Generate, told: list[Any], out: Path, mixed: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = generate(calibrated)
    check(out, mixed)
    assert [figure["outside"] for figure in manifest["drift"]] == [True, True]
    assert sum(name == "warning: drift" for name, _ in summary.table(manifest)) == 2
    names = [name for kind, of in told if kind == "stepwave.drift" for name in of["payload"]]
    assert sorted(names) == ["reward", "target_share"]
    assert len([record for record in caplog.records if record.getMessage().startswith("drift: ")]) == 2
    (_, event), (_, artifact) = told[:2]
    assert event["resource"]["prefect.resource.id"] == f"stepwave.run.{manifest['run_id']}"
    assert "outside the calibration's" in artifact["markdown"]
    for figure in event["payload"].values():
        assert not figure["low"] <= figure["value"] <= figure["high"]
        assert figure["problems"] >= 20


@pytest.mark.usefixtures("lower")
def test_a_run_can_be_told_to_stop(
    calibrated: Config, generate: Generate, out: Path, mixed: str, told: list[Any]
) -> None:
    def stopping(stop: bool) -> Config:
        drift = calibrated.drift.model_copy(update={"stop": stop})  # type: ignore[union-attr]
        return calibrated.model_copy(update={"drift": drift})

    output = RunDirectory(Store(str(out)))
    with pytest.raises(UserError, match=r"^drift: .*outside the calibration's.*--set drift.stop=false"):
        generate(stopping(True))
    assert sorted(kind for kind, _ in told) == ["artifact", "stepwave.drift"]  # of all that commit at the same time
    committed = output.records().good
    assert 0 < len(committed) < 5
    assert output.manifest() is None
    for _ in range(3):  # at last nothing is left to be made, and the whole run is judged
        with pytest.raises(UserError, match=r"^drift: "):
            generate(stopping(True))
    assert len(output.records().good) == 5
    assert output.manifest() is None
    manifest = generate(stopping(False))
    check(out, mixed)
    assert output.records().good.items() >= committed.items()
    assert all(figure["outside"] for figure in manifest["drift"])


@pytest.mark.tier2
@pytest.mark.usefixtures("lower")
def test_each_flow_run_of_a_fleet_judges_its_own(
    calibrated: Config, generate: Generate, in_process: Callable[..., InProcess], told: list[Any], out: Path, mixed: str
) -> None:
    from flows.shards import generate_shards

    def fleet(stop: bool) -> Config:
        drift = calibrated.drift.model_copy(update={"stop": stop})  # type: ignore[union-attr]
        run = calibrated.run.model_copy(update={"workers": 2})
        return calibrated.model_copy(update={"run": run, "drift": drift})

    in_process(generate_shards)
    with pytest.raises(UserError, match=r"drift: .*outside the calibration's.*--set drift.stop=false"):
        generate(fleet(True))
    events = [(kind, of["payload"]) for kind, of in told if kind != "artifact"]
    assert {kind for kind, _ in events[:-1]} == {"stepwave.drift.part"}
    kind, payload = events[-1]  # the parent's, which has the schedule
    assert kind == "stepwave.drift"
    assert payload["told"].startswith("drift: ")
    told.clear()
    manifest = generate(fleet(False))
    check(out, mixed)
    assert all(figure["outside"] for figure in manifest["drift"])
    assert [set(of["payload"]) for kind, of in told if kind == "stepwave.drift"] == [{"target_share", "reward"}]


async def test_what_stops_a_run_is_told_first(
    calibrated: Config, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    """Of two commits the second must not end the run while the first still waits for Prefect's server."""
    assert calibrated.drift is not None
    nothing: Any = SimpleNamespace()
    stopping = calibrated.model_copy(update={"drift": calibrated.drift.model_copy(update={"stop": True})})
    plan, known = Plan(stopping, {}, None, nothing, nothing), drift_alerts.Reported()
    counts = {"solutions": 200, "steps": 100, "target_steps": 100, "reward_sum": 0.0, "scored": 0}
    there, answered = asyncio.Event(), asyncio.Event()

    async def slow(**of: Any) -> None:
        there.set()
        await answered.wait()
        told.append(("artifact", of))

    monkeypatch.setattr("flows.prefect_api.ui.acreate_markdown_artifact", slow)
    monkeypatch.setattr("flows.prefect_api.ui.recorded", lambda: True)
    first, second = (
        asyncio.ensure_future(drift_alerts.report(plan, "abc", counts, known, lambda text: None)) for _ in range(2)
    )
    await asyncio.wait_for(there.wait(), 60)
    assert [kind for kind, _ in told] == ["stepwave.drift"]
    assert not second.done()
    answered.set()
    for look in (first, second):
        with pytest.raises(UserError, match=r"^drift: "):
            await look
    assert [kind for kind, _ in told] == ["stepwave.drift", "artifact"]


def test_a_run_that_is_too_small_to_be_judged_says_so(calibrated: Config, generate: Generate, told: list[Any]) -> None:
    assert calibrated.drift is not None
    manifest = generate(calibrated.model_copy(update={"drift": calibrated.drift.model_copy(update={"problems": 57})}))
    assert told == []
    assert "drift" not in manifest
    assert ("drift", "not judged: 56 of 57 problems") in summary.table(manifest)


@pytest.mark.tier2
def test_a_run_that_finds_its_threshold_is_watched(
    generate: Generate, job: Job, told: list[Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later part of its input may be unlike the first."""
    monkeypatch.setattr("flows.lifecycle.auto_threshold.PROBLEMS", 20)
    auto = job("decoding.accept={threshold: auto, target_share: 0.3}", "drift.problems=30")
    manifest = generate(auto)
    assert [figure["outside"] for figure in manifest["drift"]] == [False, False]
    assert told == []
