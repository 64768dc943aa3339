"""A complete run is told by its files, without Prefect and without the planner, unless a server may record it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flows.lifecycle import first_look
from schemas.config import Config

ROOT = Path(__file__).resolve().parents[3]
LOADED = """
import sys
from flows.cli import main
sys.argv = ["stepwave", "generate", *sys.argv[1:]]
try:
    main()
finally:
    print([name for name in ("prefect", "tasks.planning.plan", "vllm", "torch") if name in sys.modules])
"""
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(job: Callable[..., Config], tmp_path: Path) -> Ask:
    """`generate` in a process of its own that tells which modules it loaded, started in an empty folder."""
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job().model_dump(mode="json")))
    (tmp_path / "here").mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))}
    kept |= {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LOADED, str(tmp_path / "job.yaml"), *words]
        return subprocess.run(command, cwd=tmp_path / "here", env=kept, capture_output=True, text=True, check=False)

    return run


def test_a_complete_run_loads_neither_prefect_nor_the_planner(ask: Ask, out: Path) -> None:
    first = ask()
    again, as_json = ask(), ask("--json")
    assert (first.returncode, again.returncode, as_json.returncode) == (0, 0, 0), again.stderr
    *summary, loaded = again.stdout.splitlines()
    assert loaded == "[]"
    assert summary == first.stdout.splitlines()[:-1]
    assert first_look.NOTHING_TO_DO in again.stderr
    assert json.loads(as_json.stdout.splitlines()[0])["output"] == str(out)


@pytest.mark.tier2
def test_its_report_is_seen_to(ask: Ask, out: Path) -> None:
    ask()
    (out / "report" / "index.html").unlink()
    assert ask().returncode == 0
    assert (out / "report" / "index.html").exists()


@pytest.mark.tier2
def test_failed_rows_and_other_settings_are_told_as_ever(ask: Ask) -> None:
    refusing = ("--set", "models.draft.engine.refuse=' 5 spoons.'")
    assert ask(*refusing).returncode == 3
    again = ask(*refusing)
    assert again.returncode == 3
    assert "2 solutions failed" in again.stderr
    assert again.stdout.splitlines()[-1] == "[]"
    other = ask(*refusing, "--set", "decoding.seed=4")
    assert other.returncode == 2
    assert "decoding.seed: 0 there, 4 here" in other.stderr
    retried = ask("--retry-failed")
    assert retried.returncode == 0, "what failed is to be done"


def _profile(home: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text('active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://127.0.0.1:1/api"\n')


def _variable(home: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")


def _dotenv(home: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / ".env").write_text("prefect_api_url=http://127.0.0.1:1/api\n")


def _toml(home: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:1/api"\n')


def _pyproject(home: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "pyproject.toml").write_text('[tool.prefect.api]\nurl = "http://127.0.0.1:1/api"\n')


@pytest.mark.parametrize("named", [_profile, _variable, _dotenv, _toml, _pyproject])
def test_where_a_server_may_record_the_run_prefect_is_asked(
    named: Callable[..., None], job: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "prefect", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.chdir(here)
    (here / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    asked = []
    monkeypatch.setattr(first_look, "finished", lambda *of: asked.append(of))
    first_look.complete(job(), print)
    assert len(asked) == 1
    named(home, here, monkeypatch)
    assert first_look.complete(job(), print) is None
    assert len(asked) == 1
