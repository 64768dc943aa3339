"""The wheel: what is in it, and that it works beside a user's own modules, away from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.tier2

ROOT = Path(__file__).resolve().parents[2]
OURS = ("flows", "tasks", "schemas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (path,) = folder.glob("stepwave-*.whl")
    return path


@pytest.fixture
def stepwave(wheel: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command from the unpacked wheel, in a folder with modules of a user's own that are called as ours."""
    installed, project = tmp_path / "installed", tmp_path / "project"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(installed)
    project.mkdir()
    for name in OURS:
        (project / f"{name}.py").write_text("raise ImportError('a module of the user')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), str(project)])}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        script = "import sys; sys.argv[0] = 'stepwave'; from stepwave import main; main()"
        command = [sys.executable, "-P", "-c", script, *words]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)

    return run


def test_it_brings_one_module_the_demo_and_what_the_report_is_made_of(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"stepwave"}
    code = "stepwave/code/"
    assert {code + "deploy/demo/config.yaml", code + "deploy/demo/models/prm/model.safetensors"} <= names
    assert any(name.endswith("report/page.html") for name in names)
    in_checkout = {p.relative_to(ROOT).as_posix() for ours in OURS for p in (ROOT / ours).rglob("*.py")}
    assert {name.removeprefix(code) for name in names if name.startswith(code) and name.endswith(".py")} == in_checkout


def test_the_demo_runs_from_it_on_real_engines(stepwave: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = stepwave("demo", "--out", "out", "--set", "input.limit=6", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["solutions"] == 6
