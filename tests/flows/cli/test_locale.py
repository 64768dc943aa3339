"""Names and texts that are not ASCII, in locales that know nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.tier2
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C.UTF-8"},
    ],
)
def test_a_problem_set_is_read_and_written_in_any_locale(locale: dict[str, str], tmp_path: Path, models: Path) -> None:
    folder = tmp_path / "é你"
    folder.mkdir()
    pq.write_table(pa.table({"problem": ["2 + 2 = ? é 你好"], "problem_id": ["ü1"]}), folder / "p.parquet")
    engine = {"kind": "scripted", "max_model_len": 1024}
    config = {
        "input": {"path": str(folder / "p.parquet")},
        "output": {"path": str(folder / "out")},
        "models": {role: {"model": str(models / role), "engine": engine} for role in ("draft", "target", "prm")},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    command = [sys.executable, "-m", "flows", "check", str(folder / "job.yaml")]
    done = subprocess.run(command, cwd=ROOT, env=environment | {"PYTHONUTF8": "0"} | locale, capture_output=True)
    assert done.returncode == 0, done.stderr
    escaped = b"\\xe9" if locale.get("PYTHONIOENCODING") == "ascii" else None
    shown = escaped or "é".encode(locale.get("PYTHONIOENCODING", "utf-8"))
    assert shown in done.stdout
