"""Where time went stands in the manifest, the status and the timeline, for every process of a run."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invariants import check

from flows.status import lines, status
from flows.terminal import summary
from schemas.config import Config
from tasks.decoding.requests import StepRequest
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import EngineError
from tasks.storage.store import Store
from tasks.storage.stores import Stores

Job = Callable[..., Config]
STAGES = {"planning", "reading", "preparing", "deciding", "tokenizing", "checkpointing", "grading", "committing"}


def lanes(picture: bytes) -> list[str]:
    root = ET.fromstring(picture)
    found = ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("}text")]
    return [text for text in found if text in ("draft", "prm", "target")]


def test_a_run_tells_where_its_time_went(job: Job, generate: Any, out: Path) -> None:
    manifest = generate(job())
    accounts = manifest["accounts"]
    assert set(accounts["roles"]) == {"draft", "target", "prm"}
    for role, of in accounts["roles"].items():
        assert 0 < of["busy"] <= of["ready"] <= manifest["seconds"]["total"]
        assert of["idle"] == pytest.approx(of["ready"] - of["busy"], abs=0.002)
        assert of["in_flight"] >= 1
        assert of["requests"] == manifest["computed"][role]["requests"]
    assert set(accounts["stages"]) == STAGES
    [session] = manifest["sessions"]
    assert session["accounts"] == accounts
    told = dict(line.split("  ", 1) for line in summary.lines(manifest, str(out)))
    assert "draft" in told["engines busy"]
    assert told["timeline"].strip() == f"{out}/report/timeline.svg"
    assert lanes((out / "report/timeline.svg").read_bytes()) == ["draft", "prm", "target"]
    check(out)
    report = status(str(out), Stores())
    assert set(report["busy"]) == {"draft", "target", "prm"}
    assert all(0 < share <= 1 for share in report["busy"].values())
    assert any(line.startswith("engines busy") for line in lines(report))


def test_a_resumed_run_has_the_lanes_of_both_processes(
    job: Job, generate: Any, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ScriptedEngine.ask
    calls = iter(range(10))

    async def dying(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if isinstance(asks[0], StepRequest) and next(calls, None) is None:
            raise EngineError("gone")
        return await usual(self, asks, answered)

    output = f"{s3}/run"
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", dying)
        with pytest.raises(EngineError):
            generate(job(output=output))
    stopped = status(output, Stores())
    assert 0 < stopped["busy"]["draft"] <= 1
    manifest = generate(job(output=output))
    first, second = (session["accounts"]["roles"]["draft"]["calls"] for session in manifest["sessions"])
    assert min(first, second) > 0
    assert manifest["accounts"]["roles"]["draft"]["calls"] == first + second
    assert lanes(Store(output).read("report/timeline.svg")) == ["draft", "prm", "target"] * 2


def test_a_picture_that_cannot_be_kept_costs_nothing_else(
    job: Job, generate: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("tasks.telemetry.timeline_svg.picture", broken)
    generate(job())
    check(out)
    assert not (out / "report/timeline.svg").exists()
