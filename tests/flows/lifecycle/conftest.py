"""Runs in some state, which tests copy."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lifecycle.begun_runs import ORIGINALS, mistake, solved

from schemas.config import Config
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import UserError

Generate = Callable[[Config], dict[str, Any]]

Job = Callable[..., Config]

Whole = Callable[[], pl.DataFrame]


@pytest.fixture
def begin(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> Callable[[Config, str], None]:
    """Take a run so far: "stopped" with some shards committed and others checkpointed, or "complete"."""

    def run(config: Config, state: str) -> None:
        if state == "complete":
            generate(config)
            return
        usual, records = ScriptedEngine.ask, Path(config.output.path) / "shards"

        async def until_one_is_done(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
            if records.exists() and list(records.iterdir()):
                raise UserError("that is enough")
            return await usual(self, asks, answered)

        with monkeypatch.context() as patch:
            patch.setattr(ScriptedEngine, "ask", until_one_is_done)
            assert "that is enough" in mistake(lambda: generate(config))

    return run


@pytest.fixture
def begun(
    begin: Callable[..., None], job: Job, out: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], None]:
    """Have a run of `job()` in some state at `out`."""

    def copy(state: str) -> None:
        if state not in ORIGINALS:
            place = tmp_path_factory.mktemp(state) / "out"
            begin(job(output=str(place)), state)
            ORIGINALS[state] = place
        shutil.copytree(ORIGINALS[state], out)

    return copy


@pytest.fixture
def whole(begin: Callable[..., None], job: Job, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a run of `job()` comes to that nothing befell."""

    def read() -> pl.DataFrame:
        if "complete" not in ORIGINALS:
            place = tmp_path_factory.mktemp("complete") / "out"
            begin(job(output=str(place)), "complete")
            ORIGINALS["complete"] = place
        return solved(ORIGINALS["complete"])

    return read


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have it be another day of January 2026."""
    places = (
        "models.chat",
        "planning.plan",
        "output.directory",
        "evaluation.cell_runs",
        "calibration.directory",
        "export.runs",
    )

    def be(number: int) -> None:
        for place in places:
            monkeypatch.setattr(f"tasks.{place}.today", lambda: datetime.date(2026, 1, number))

    return be
