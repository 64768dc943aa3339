"""A folder in which a run is started may hold files of any name: none of them is ever imported."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from schemas.config import Config

OURS = {"tasks", "schemas"}
PLANTED = """
import os, sys
with open({mark!r}, "a") as f:
    f.write(__name__ + " by " + " ".join(sys.orig_argv)[:200] + chr(10))
"""


def plant(folder: Path, mark: Path) -> None:
    """A file for every module that anything of ours may import."""
    folder.mkdir()
    names = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions()) | OURS
    text = PLANTED.format(mark=str(mark))
    for name in names | {"sitecustomize", "usercustomize"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(text)


@pytest.mark.parametrize("entry", ["-m flows", "stepwave"])
def test_nothing_of_the_folder_is_imported(configured: Callable[..., Config], tmp_path: Path, entry: str) -> None:
    """Grading starts processes for answers that need algebra; the run has a Prefect server of its own."""
    here, mark = tmp_path / "here", tmp_path / "mark"
    problems = tmp_path / "problems.parquet"
    pq.write_table(pa.table({"problem": [f"{n}+1?" for n in range(4)], "answer": [r"\frac{x}{2}"] * 4}), problems)
    config = configured("decoding.max_tokens=60", "decoding.seed=1", input=str(problems))
    plant(here, mark)
    if entry == "-m flows":
        bare = [sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)"]
        first = subprocess.run(bare, capture_output=True, text=True, check=True).stdout.split()
        # what these words ask for, and what Python needs itself to find it
        for name in {"flows", *(module.partition(".")[0] for module in first)}:
            (here / f"{name}.py").unlink(missing_ok=True)
    (here / "job.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    words = [sys.executable, "-m", "flows"] if entry == "-m flows" else [str(Path(sys.executable).parent / "stepwave")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PYTHON"))}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [*words, *command], cwd=here, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode in (0, 3), done.stderr[-3000:]
        assert not mark.exists(), mark.read_text()[:3000]
        return done.stdout

    out = config.output.path
    run("check", "job.yaml")
    run("generate", "job.yaml")
    run("status", out)
    run("report", out)
    run("export", "prm", out, str(tmp_path / "data"))
