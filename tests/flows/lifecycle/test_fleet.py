"""Runs whose shards are made by flow runs on a work pool: a real server, real workers, scripted engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fleets import Pool, flow_runs
from invariants import check, read_tables
from polars.testing import assert_frame_equal

from schemas.config import Config
from tasks.errors import UserError
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]


@pytest.fixture
def pool(prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr("flows.lifecycle.fleet.POLL", 0.3)
    return Pool(prefect, tmp_path)


def test_flow_runs_share_a_run_on_s3(
    pool: Pool, job: Job, generate: Callable[[Config], dict[str, Any]], s3: str, tmp_path: Path
) -> None:
    generate(job("run.shard_size=8", output=str(tmp_path / "one")))
    out = f"{s3}/run"
    with pool.workers(2):
        # slow enough that the second process finds shards left however much later it begins
        slow = ["run.cohorts=1", *(f"models.{role}.engine.seconds=0.1" for role in ("draft", "target", "prm"))]
        changes = ["run.shard_size=8", f"run.deployment={pool.deployment}", "run.workers=2", *slow]
        manifest = generate(job(*changes, output=out))
    store = Store(out)
    for key in store.keys(""):
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(store.read(key))
    check(tmp_path / "copy")
    for a, b in zip(read_tables(tmp_path / "copy"), read_tables(tmp_path / "one"), strict=True):
        assert_frame_equal(a.select(pl.exclude("wave")), b.select(pl.exclude("wave")))
    assert manifest["shards"] == 8
    assert store.keys("checkpoints") == []
    runs = flow_runs(out)
    assert {run.name for run in runs} == {f"shards {n}/2 of {out}" for n in (1, 2)}
    assert (
        "Completed" in {run.state_name for run in runs} <= {"Completed", "Cancelled", "Cancelling"}
    )  # one may be called off
    assert all(f"run:{manifest['run_id']}" in run.tags for run in runs)
    workers = [session for session in manifest["sessions"] if session["flow_run"]]
    assert {session["flow_run"] for session in workers} <= {str(run.id) for run in runs}
    assert all(session["ended"] for session in workers)
    assert sum(session["generated"].get("draft", 0) for session in workers) > 0


def test_what_is_missing_is_told_before_anything_is_planned(
    prefect: str, job: Job, generate: Callable[[Config], dict[str, Any]], out: Path
) -> None:
    with pytest.raises(UserError, match=r"no deployment generate-shards/nowhere; make it with `sh deploy/setup.sh`"):
        generate(job("run.workers=2", "run.deployment=generate-shards/nowhere"))
    assert not out.exists()
