"""`stepwave report`, and the report that a run leaves by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report.outputs import few, write_run
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from flows.status import status
from schemas.config import Config
from tasks import report
from tasks.storage.store import Store
from tasks.storage.stores import Stores

Command = Callable[..., Said]


def test_a_finished_run_has_a_report_and_gets_another_for_a_price(
    stepwave: Command,  # noqa: F811
    job: Callable[..., Config],
    generate: Any,
    out: Path,
) -> None:
    generate(job())
    own = (out / "report/index.html").read_text()
    assert "Target steps, by level" in own
    assert "Engine timeline" in own
    assert {role: len(parts) for role, parts in json.loads((out / "manifest.json").read_text())["prompts"].items()} == {
        "draft": 2,
        "target": 2,
        "prm": 2,
    }, "one user message in each, which a report puts there"
    code, said, _ = stepwave("report", str(out), "--price", "2.5", "--json")
    assert code == 0
    assert json.loads(said) == {"output": str(out), "report": f"{out}/report/index.html"}
    assert 'value="2.5"' in (out / "report/index.html").read_text()
    report.keep(Store(str(out)), pytest.fail)
    assert 'value="2.5"' in (out / "report/index.html").read_text(), "the same run's report is not made again"
    assert status(str(out), Stores())["state"] == "complete"


def test_a_report_that_fails_costs_nothing_else(
    job: Callable[..., Config], generate: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("tasks.report.page.render", broken)
    assert generate(job())["counts"]["solutions"] > 0
    assert (out / "manifest.json").exists()
    assert not (out / "report/index.html").exists()


def test_mistakes_are_told_in_a_line(stepwave: Command, tmp_path: Path) -> None:  # noqa: F811
    is_mistake(stepwave("report", str(tmp_path / "none")), "none", "there is nothing here")
    (tmp_path / "notes.txt").write_text("mine")
    is_mistake(stepwave("report", str(tmp_path)), "is not the output of a run, an evaluation or a calibration")
    is_mistake(stepwave("report", str(tmp_path), "--price", "-2"), "--price", "0 or more")
    is_mistake(stepwave("report", str(tmp_path), "--price", "cheap"), "cheap")
    is_mistake(stepwave("report", str(tmp_path), "--set", "input.limit=3"), "only storage.* can be set here")
    (tmp_path / "config.yaml").write_text("input: [")
    is_mistake(stepwave("report", str(tmp_path)), "config.yaml")


def test_a_home_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    write_run(Store(str(tmp_path / "out")), [few(3)])
    (tmp_path / "home").write_text("no folder, whoever asks")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPL"))}
    words = [Path(sys.executable).parent / "stepwave", "report", tmp_path / "out"]
    home = environment | {"HOME": str(tmp_path / "home")}
    done = subprocess.run(words, env=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
