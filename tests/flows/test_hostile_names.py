"""Paths, and names that stand in files, can hold anything: none ends a line, or tells a terminal what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import check, status
from flows.terminal import summary
from flows.terminal.progress import Progress
from schemas.config import Config
from tasks.output import claims
from tasks.storage.stores import Stores

HOSTILE = "a\nb\x1b[2J\u202e\r"
SHOWN = r"a\nb\x1b[2J\u202e\r"


def hold(out: Path, host: str) -> None:
    """Another machine's process has the first shard."""
    now = time.time()
    owner = claims.Owner("abc", host, 7, 0.0, now, now, {}, False)
    for key, content in (("sessions/abc", owner._asdict()), ("claims/00000/000001", {"session": "abc"})):
        path = out / "checkpoints" / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def test_reports_keep_to_their_lines(
    generate: Callable[[Config], Any],
    job: Callable[..., Config],
    problem_set: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / HOSTILE / "out"
    path = problem_set({"problem": [f"{n}+1?" for n in range(20)]}, f"{HOSTILE}/p.parquet")
    config = job(input=path, output=str(out))
    lines = summary.lines(generate(config), config.output.path)
    assert f"{SHOWN}/out" in lines[-1]
    (out / "solutions" / "00000.parquet").unlink()
    hold(out, HOSTILE)
    looked, checked = status.status(str(out), Stores()), check.check(config)
    for report in (status.lines(looked), check.lines(checked)):
        assert [line for line in report if line.startswith("damaged") and SHOWN in line]
        assert [line for line in report if line.startswith("in use") and SHOWN in line]
        lines += report
    with Progress() as progress:
        progress.say(f"waiting for {HOSTILE}")
    lines.append(capsys.readouterr().err.strip("\n"))
    assert SHOWN in lines[-1]
    assert [line for line in lines if not line.isprintable()] == []
    assert (
        summary.markdown(json.loads((out / "manifest.json").read_text()), str(out)).count(SHOWN) == 2
    )  # output and report
