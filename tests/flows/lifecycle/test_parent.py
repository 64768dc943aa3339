"""What a parent makes of its flow runs, which are in this process here: crashes, cancellations, what is left over."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from in_process import InProcess, in_process
from invariants import check, read_tables
from polars.testing import assert_frame_equal

from schemas.config import Config
from tasks.errors import FleetError, RunCancelled, UserError
from tasks.output import claims
from tasks.output.directory import RunDirectory
from tasks.output.liveness import LivenessTracker
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2

__all__ = ["in_process"]

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]
Fleet = Callable[[Callable[..., Any]], InProcess]
WORKERS = ("run.shard_size=8", "run.workers=3")


async def shards(config: Config, group: int, groups: int) -> int:
    from flows.shards import generate_shards

    return await generate_shards(config, group, groups)


@pytest.fixture
def alone(job: Job, generate: Generate, tmp_path: Path) -> Callable[..., None]:
    """Compare an output with that of one process."""

    def same(out: Path, *changes: str) -> None:
        generate(job("run.shard_size=8", *changes, output=str(tmp_path / "alone")))
        check(out)
        for a, b in zip(read_tables(out), read_tables(tmp_path / "alone"), strict=True):
            assert_frame_equal(a.select(pl.exclude("wave")), b.select(pl.exclude("wave")))

    return same


def test_they_make_what_one_process_makes(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard once, and none of them surveys the input again, or reads all records."""
    commits, surveys = Counter[int](), Counter[str]()
    commit = RunDirectory.commit

    def counted(self: RunDirectory, shard: int, *rest: Any) -> Any:
        commits[shard] += 1
        return commit(self, shard, *rest)

    import tasks.planning.plan

    survey = tasks.planning.plan.survey

    def surveyed(*arguments: Any) -> Any:
        surveys["all"] += 1
        return survey(*arguments)

    monkeypatch.setattr(RunDirectory, "commit", counted)
    monkeypatch.setattr("tasks.planning.plan.survey", surveyed)
    fleet = in_process(shards)
    manifest = generate(job(*WORKERS))
    assert (commits, surveys) == (dict.fromkeys(range(8), 1), {"all": 1})
    assert [start.group for start in fleet.started] == [1, 2, 3]
    assert manifest["shards"] == 8
    assert {path.name for path in out.iterdir()}.isdisjoint({"checkpoints"})
    again = generate(job(*WORKERS))
    assert again == manifest
    assert len(fleet.started) == 3
    alone(out)


def test_they_settle_on_one_threshold(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.lifecycle.stages.POLL", 0.02)
    auto = "decoding.accept={rule: threshold, threshold: auto, target_share: 0.4}"
    in_process(shards)
    manifest = generate(job("run.shard_size=15", "run.workers=2", "input.limit=30", auto))
    assert manifest["calibration"]["target_share"] == 0.4
    alone(out, "run.shard_size=15", "input.limit=30", auto)


def test_failed_rows_are_taken_up_again(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path, prefect: str
) -> None:
    from flows.generate import generate as flow

    fleet = in_process(shards)
    refuse = "models.draft.engine.refuse=' 5 spoons.'"
    first = generate(job(*WORKERS, refuse))
    assert first["counts"]["failed"] > 0
    second = asyncio.run(flow(job(*WORKERS), retry_failed=True))
    assert second["counts"]["failed"] == 0
    assert second["retries"] == 1
    assert [start.attempt for start in fleet.started] == [1, 1, 1, 1]
    alone(out)


def test_one_that_crashes_is_started_again_and_others_go_on(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path
) -> None:
    crashes = iter(range(3))

    async def crashing(config: Config, group: int, groups: int) -> int:
        if group == 2 and next(crashes, None) is not None:
            raise OSError("the node is gone")
        return await shards(config, group, groups)

    fleet = in_process(crashing)
    generate(job(*WORKERS))
    assert [start.attempt for start in fleet.started if start.group == 2][:2] == [1, 2]
    alone(out)


def test_crashes_without_end_end_the_run(in_process: Fleet, job: Job, generate: Generate) -> None:
    async def crashing(config: Config, group: int, groups: int) -> int:
        raise OSError("no such device")

    fleet = in_process(crashing)
    with pytest.raises(FleetError, match=r"flow run run 1: no such device; it was started again 2 times without"):
        generate(job(*WORKERS, "run.worker_restarts=2"))
    assert max(start.attempt for start in fleet.started) == 3


def test_a_mistake_that_a_flow_run_finds_is_the_runs(in_process: Fleet, job: Job, generate: Generate) -> None:
    async def mistaken(config: Config, group: int, groups: int) -> int:
        if group == 1:
            raise UserError("models.draft.model: /models/draft is not on this machine")
        await asyncio.sleep(100)
        return 0

    fleet = in_process(mistaken)
    with pytest.raises(UserError, match=r"^models\.draft\.model: /models/draft is not on this machine$"):
        generate(job(*WORKERS))
    assert [task.cancelled() for task in fleet.tasks.values()] == [False, True, True]


def test_cancelled_flow_runs_are_not_started_again(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path
) -> None:
    """Others take their shards; where all are cancelled, the run ends, and goes on another time."""

    async def cancelled(config: Config, group: int, groups: int) -> int:
        if group > 1 or everyone:
            raise asyncio.CancelledError
        return await shards(config, group, groups)

    everyone = True
    fleet = in_process(cancelled)
    with pytest.raises(RunCancelled, match="every flow run that makes shards was cancelled"):
        generate(job(*WORKERS))
    everyone = False
    generate(job(*WORKERS))
    assert [start.group for start in fleet.started] == [1, 2, 3] * 2
    assert [start.attempt for start in fleet.started] == [1, 1, 1, 2, 2, 2]
    alone(out)


@pytest.mark.parametrize("by", ["Ctrl-C", "a cancellation in Prefect", "SIGTERM"])
def test_who_stops_the_parent_stops_its_flow_runs_too_unless_it_is_preempted(
    in_process: Fleet, job: Job, monkeypatch: pytest.MonkeyPatch, prefect: str, by: str
) -> None:
    from flows.generate import generate as flow

    begun = asyncio.Event()

    async def endless(config: Config, group: int, groups: int) -> int:
        begun.set()
        await asyncio.sleep(0.5)
        return 0

    fleet = in_process(endless)
    fleet.cancelled_self = by.startswith("a cancellation")
    monkeypatch.setattr("flows.lifecycle.fleet.stopped_by", lambda: signal.SIGINT if by == "Ctrl-C" else signal.SIGTERM)

    async def stopped() -> None:
        run = asyncio.ensure_future(flow(job(*WORKERS)))
        await begun.wait()
        run.cancel()
        await run

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
    assert {run.state for run in fleet.runs.values()} == {"running" if by == "SIGTERM" else "cancelled"}


def test_what_a_dead_process_holds_is_waited_for(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flow runs that found nothing more to do are started again once it is to be had: this process has heard nothing of
    whoever holds it, whose clock is decades off, for as long as that takes."""
    store = Store(str(out))
    ended: list[int] = []

    def once_others_are_done(self: LivenessTracker, who: str, sign: object, since: int) -> bool:
        return "abc" in who and len(ended) >= 3

    monkeypatch.setattr(LivenessTracker, "silent", once_others_are_done)

    async def beside_another(config: Config, group: int, groups: int) -> int:
        if not store.keys("checkpoints/claims"):
            owner = claims.Owner("abc", "elsewhere", 7, 0.0, 0.0, 0.0, {}, False)
            store.write("checkpoints/sessions/abc.json", json.dumps(owner._asdict()).encode())
            store.write("checkpoints/claims/00004/000001.json", b'{"session": "abc"}')
        made = await shards(config, group, groups)
        ended.append(group)
        return made

    fleet = in_process(beside_another)
    generate(job(*WORKERS))
    assert [(start.group, start.attempt) for start in fleet.started[3:]] == [(2, 2)]
    alone(out)


def test_a_process_that_dies_right_after_its_first_claims_holds_nothing(
    in_process: Fleet, job: Job, generate: Generate, alone: Any, out: Path
) -> None:
    store = Store(str(out))
    deaths = iter([2])

    async def dying(config: Config, group: int, groups: int) -> int:
        if group == 2 and next(deaths, None):
            now = time.time()
            owner = claims.Owner("abc", "elsewhere", 7, now, now, now, {}, False, flow_run="2/3-1")
            store.write("checkpoints/sessions/abc.json", json.dumps(owner._asdict()).encode())
            store.write("checkpoints/claims/00004/000001.json", b'{"session": "abc"}')
            raise OSError("the node is gone")
        return await shards(config, group, groups)

    in_process(dying)
    manifest = generate(job(*WORKERS))
    assert all(session["ended"] for session in manifest["sessions"] if session["flow_run"] == "2/3-1")
    alone(out)


def test_a_parent_with_other_workers_goes_on_with_flow_runs_of_an_earlier_one(
    in_process: Fleet, job: Job, alone: Any, out: Path, monkeypatch: pytest.MonkeyPatch, prefect: str
) -> None:
    from flows.generate import generate as flow

    monkeypatch.setattr("flows.lifecycle.fleet.stopped_by", lambda: signal.SIGTERM)

    async def restarted() -> None:
        begun, all_begun, stopped = [], asyncio.Event(), asyncio.Event()

        async def act(config: Config, group: int, groups: int) -> int:
            begun.append((group, groups))
            if groups == 1:
                return await shards(config, group, groups)
            if len(begun) == 3:
                all_begun.set()
            await stopped.wait()
            raise OSError("the node is gone")

        fleet = in_process(act)
        first = asyncio.ensure_future(flow(job(*WORKERS)))
        await all_begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        watched = []
        states = fleet.states

        async def seen(runs: Any) -> Any:
            watched.append(len(runs))
            stopped.set()
            return await states(runs)

        monkeypatch.setattr(fleet, "states", seen)
        await flow(job("run.shard_size=8", "run.workers=1"))
        assert watched[:2] == [3, 3], "known, then watched"
        assert begun == [(1, 3), (2, 3), (3, 3), (1, 1)]

    asyncio.run(restarted())
    alone(out)
