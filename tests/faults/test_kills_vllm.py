"""A run with real engines that is killed, goes on, and then loses an engine."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from campaign import Process, Written, same_as_undisturbed, started, until

pytestmark = pytest.mark.tier2

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo"


def engines(process: Process) -> list[psutil.Process]:
    """The processes of a run's engines."""
    children = psutil.Process(process.popen.pid).children(recursive=True)
    return [p for p in children if p.name() in ("stepwave-draft", "stepwave-target", "stepwave-prm")]


def test_a_run_on_vllm_survives_its_own_death_and_that_of_an_engine(
    tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect)
    problems = tmp_path / "problems.parquet"
    pq.write_table(pq.read_table(DEMO / "problems.parquet").slice(0, 60), problems)
    draw = random.Random(4)

    def words(out: str) -> list[str]:
        changes = [
            f"input.path={problems}",
            f"output.path={tmp_path / out}",
            *(f"models.{role}.model={DEMO / 'models' / role}" for role in ("draft", "target", "prm")),
            "decoding.max_tokens=256",
            "decoding.temperature=0.7",
            "run={shard_size: 20, in_flight: 10, checkpoint_seconds: 0}",
        ]
        return ["generate", str(DEMO / "config.yaml"), *(w for change in changes for w in ("--set", change))]

    with started(words("whole"), tmp_path / "whole.log") as process:
        process.ends()

    out = tmp_path / "out"
    log = tmp_path / "out.log"
    with started(words("out"), log) as process:
        written = Written(out)
        assert until(process, lambda: written.count() > draw.randint(3, 30))
        orphans = engines(process)
        assert {p.name() for p in orphans} == {"stepwave-draft", "stepwave-target", "stepwave-prm"}
        process.kill()
    psutil.wait_procs(orphans, timeout=60)
    assert not any(p.is_running() for p in orphans), "engines end with their run"

    with started(words("out"), log) as process:
        before = written.count()
        assert until(process, lambda: written.count() > before + draw.randint(1, 5))
        draw.choice(sorted(engines(process), key=lambda p: p.pid)).send_signal(signal.SIGKILL)
        said = process.ends()
    assert said.count("starting it again (1 of 5)") == 1
    same_as_undisturbed(out, tmp_path / "whole", str(problems))
