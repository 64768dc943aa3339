"""A fleet's parent and one of its flow processes are killed with SIGKILL: the run completes as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from campaign import same_as_undisturbed, started
from fleets import Pool, flow_runs, until

from schemas.config import Config

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]
SLOW = [f"models.{role}.engine.seconds=0.1" for role in ("draft", "target", "prm")]


def test_a_flow_process_and_the_parent_are_killed(
    prefect: str,
    job: Job,
    generate: Callable[[Config], dict[str, Any]],
    command: Callable[..., list[str]],
    undisturbed: Callable[..., Path],
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parent is started again, finds what is still at work, and starts only the flow run that is not."""
    monkeypatch.setattr("flows.lifecycle.fleet.POLL", 0.3)
    pool = Pool(prefect, tmp_path)
    changes = ["run.shard_size=8", f"run.deployment={pool.deployment}", "run.workers=2", "run.in_flight=8", *SLOW]
    words = command(*changes)
    with pool.workers(2) as workers:
        with started(words, tmp_path / "parent.log") as parent:
            until(lambda: len(list(out.glob("shards/*.json"))) > 1, "two shards committed")
            parent.kill()
        made = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.json")}
        [victim] = until(workers[0].flow_processes, "a flow process")
        victim.kill()
        generate(job(*changes))
    same_as_undisturbed(out, undisturbed("run.shard_size=8", *SLOW))
    assert {path: path.stat().st_mtime_ns for path in made} == made
    states = [run.state_name for run in flow_runs(str(out))]
    assert len(states) <= 3  # the third only where the killed one left something to do
    called_off = {"Cancelled", "Cancelling"}  # not begun in time; its worker may be gone before it sees to it
    assert {"Completed", "Crashed"} <= set(states) <= {"Completed", "Crashed", *called_off}
    assert len(json.loads((out / "manifest.json").read_text())["sessions"]) > len(states)
