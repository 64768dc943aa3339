"""A folder in which a run is started may hold files of any name: none of them is ever imported."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.cli import COMMANDS
from schemas.config import Config

pytestmark = pytest.mark.tier2

OURS = {"tasks", "schemas"}
PLANTED = """
import os, sys
with open({mark!r}, "a") as f:
    f.write(__name__ + " by " + " ".join(sys.orig_argv)[:200] + chr(10))
"""


def plant(folder: Path, mark: Path) -> None:
    """A file for every module that anything of ours may import."""
    folder.mkdir(exist_ok=True)
    names = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions()) | OURS
    text = PLANTED.format(mark=str(mark))
    for name in names | {"sitecustomize", "usercustomize"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(text)


Run = Callable[..., str]


@pytest.fixture
def planted(configured: Callable[..., Config], tmp_path: Path) -> tuple[Path, Path]:
    """The folder in which all is started, with a job in it, and a file that tells of what was imported. Files lie in
    the problem set's and the models' folders as well. Grading starts processes for answers that need algebra."""
    here, data, mark = tmp_path / "here", tmp_path / "data", tmp_path / "mark"
    data.mkdir()
    problems = {"problem": [f"{n}+1?" for n in range(4)], "answer": [r"\frac{x}{2}"] * 4}
    pq.write_table(pa.table(problems), data / "problems.parquet")
    lines = [json.dumps({"question": question, "answer": "so\n#### 3"}) for question in problems["problem"]]
    (data / "gsm.jsonl").write_text("\n".join(lines))
    config = configured("decoding.max_tokens=60", "decoding.seed=1", input=str(data / "problems.parquet"))
    job = config.model_dump(mode="json")
    for folder in (here, data):
        plant(folder, mark)
    for role in config.roles:
        shutil.copytree(job["models"][role]["model"], tmp_path / role)
        job["models"][role]["model"] = str(tmp_path / role)
        plant(tmp_path / role, mark)
    (here / "job.yaml").write_text(yaml.safe_dump(job))
    side_by_side = {
        "benchmarks": [{"name": "ours", "path": str(data / "problems.parquet")}],
        "methods": [{"method": "target"}],
        "output": {"path": str(tmp_path / "evaluation")},
    }
    both = {name: job[name] for name in ("models", "run")} | {"decoding": {"max_tokens": 60}}
    (here / "evaluation.yaml").write_text(yaml.safe_dump(side_by_side | both))
    return here, mark


def runner(words: list[str], here: Path, mark: Path) -> Run:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PYTHON"))}
    environment |= {"PREFECT_HOME": str(here.parent / "prefect")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [*words, *command], cwd=here, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode in (0, 3), done.stderr[-3000:]
        assert not mark.exists(), mark.read_text()[:3000]
        return done.stdout

    return run


SCRIPTED = "{kind: scripted, max_model_len: 2048}"


def test_nothing_that_lies_anywhere_is_imported_by_any_command(planted: tuple[Path, Path]) -> None:
    here, mark = planted
    root = here.parent
    named: set[str] = set()
    start = runner([str(Path(sys.executable).parent / "stepwave")], here, mark)

    def run(*command: str) -> None:
        named.add(command[0])
        start(*command)

    out = str(root / "out")
    run("import", "gsm8k", str(root / "data" / "gsm.jsonl"), str(root / "data" / "made.parquet"))
    run("check", "job.yaml", "--show", "1")
    run("generate", "job.yaml")
    plant(root / "out", mark)
    run("status", out)
    run("generate", "job.yaml")
    id_of = pq.read_table(root / "out" / "solutions").column("problem_id")[0].as_py()
    run("show", out, id_of)
    run("report", out)
    run("export", "prm", out, str(root / "labels"))
    run(
        "export",
        "sft",
        out,
        str(root / "texts"),
        "--answers",
        "any",
        "--format",
        "text",
        "--template",
        str(root / "target"),
    )
    run("rollouts", out, str(root / "rollouts"), "--samples", "2")
    run("calibrate", "job.yaml", "--set", f"output.path={root / 'calibration'}")
    run("evaluate", "evaluation.yaml")
    run("status", str(root / "evaluation"))
    run("report", str(root / "evaluation"))
    few = ["input.limit=2", "decoding.max_tokens=60"]
    few += [f"models.{role}.engine={SCRIPTED}" for role in ("draft", "target", "prm")]
    run("demo", "--out", str(root / "demo"), *(word for change in few for word in ("--set", change)))
    assert named == {name.rstrip("_") for names in COMMANDS.values() for name in names}


def test_nothing_of_the_folder_is_imported_by_the_module(planted: tuple[Path, Path]) -> None:
    here, mark = planted
    bare = [sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)"]
    first = subprocess.run(bare, capture_output=True, text=True, check=True).stdout.split()
    # what these words ask for, and what Python needs itself to find it
    for name in {"flows", *(module.partition(".")[0] for module in first)}:
        (here / f"{name}.py").unlink(missing_ok=True)
    run = runner([sys.executable, "-m", "flows"], here, mark)
    run("check", "job.yaml")
    run("generate", "job.yaml")
