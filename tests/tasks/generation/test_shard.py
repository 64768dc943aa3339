"""A shard in flight: what it keeps, what it takes up again, and what of it is not its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from disks import Disk, MemoryStore
from small_runs import AtOnce, Health, Layout, Scorer, SmallPlan, Writer, plan_of, write_problems

from tasks.decoding.usage import Usage
from tasks.generation.pipeline import Pipeline
from tasks.generation.shard import Shard
from tasks.output.directory import Identity, RunDirectory
from tasks.output.session import Session
from tasks.problems.reader import shards
from tasks.storage.stores import Stores

LAYOUT = Layout(shard_size=9)
SIZE = {"shards": 1, "solutions": 6}


@pytest.fixture
def plan(tmp_path: Path) -> SmallPlan:
    write_problems(str(tmp_path / "problems.parquet"))
    return plan_of(str(tmp_path / "problems.parquet"), LAYOUT)


@pytest.fixture
def output() -> RunDirectory:
    return RunDirectory(MemoryStore(Disk()))


def open_shard(plan: SmallPlan, output: RunDirectory, identity: Identity | None = None) -> Shard:
    ours = identity or output.begin(plan.config, plan.survey.fingerprint, SIZE)
    [found] = shards(plan.survey, Stores.of(plan.config), 9, lambda shard: True)
    return Shard(*found, plan, output, ours)


class Enough(Exception):
    """Stops decoding."""


def decode(shard: Shard, rounds: int = 99, health: Health | None = None) -> Health:
    """Decode a shard until so many rounds were made, keeping each; returns what was asked."""
    engines = health or Health()
    session = Session(shard.output.store)
    assert session.claim(shard.number)
    pipeline = Pipeline(
        shard.plan,
        shard.output,
        shard.identity,
        session,
        {"draft": Writer("draft", engines), "target": Writer("target", engines), "prm": Scorer()},
        AtOnce("x"),  # type: ignore[arg-type]
    )
    made = 0

    def moved(*_: Any) -> None:
        nonlocal made
        made += 1
        if made == rounds:
            raise Enough

    try:
        asyncio.run(pipeline.decode(shard, moved))
    except* Enough:
        assert made >= rounds
    return engines


def attempts(shard: Shard) -> list[Any]:
    return [(t.problem_id, a.step, a.attempt, a.text, a.token_ids) for t in shard.trajectories for a in t.attempts]


def test_a_shard_has_a_trajectory_for_each_usable_row(plan: SmallPlan, output: RunDirectory) -> None:
    shard = open_shard(plan, output)
    assert [t.problem_id for t in shard.trajectories] == ["p0", "p1", "p4", "p5", "p6", "p8"]
    assert [rejected.row for rejected in shard.rejected] == [2, 3, 7]


def test_a_shard_goes_on_from_its_last_checkpoint(plan: SmallPlan, output: RunDirectory) -> None:
    first = open_shard(plan, output)
    decode(first, rounds=9)
    second = open_shard(plan, output)
    assert attempts(second) == attempts(first)
    assert [t.rounds for t in second.trajectories] == [t.rounds for t in first.trajectories]
    assert second.usage == first.usage
    decode(second)
    whole = open_shard(plan, output)
    assert attempts(whole) == attempts(second)
    assert decode(whole).asked == set()


def test_a_checkpoint_holds_what_was_added_since_the_last(plan: SmallPlan, output: RunDirectory) -> None:
    shard = open_shard(plan, output)
    decode(shard, rounds=7)
    rows, _ = output.load_steps(0)
    places = [(row["problem_id"], row["step"], row["attempt"]) for row in rows]
    assert sorted(places) == sorted(set(places))
    assert len(places) == len(attempts(shard))


def test_nothing_new_is_not_kept(plan: SmallPlan, output: RunDirectory) -> None:
    shard = open_shard(plan, output)
    assert shard.news() is None
    shard.trajectories[0].usage["draft"].merge(Usage(requests=1))
    news = shard.news()
    assert news is not None
    shard.checkpoint("a", news)
    assert shard.news() is None
    assert output.load_steps(0)[1] == [{"draft": {"requests": 1, "generated": 0, "prefilled": 0, "cached": 0}}]


def test_what_could_not_be_kept_is_kept_next_time(
    plan: SmallPlan, output: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = open_shard(plan, output)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(output, "save_steps", full)
        with pytest.raises(OSError, match="No space"):
            decode(shard)
    while news := shard.news():
        shard.checkpoint("later", news)
    again = open_shard(plan, output)
    assert attempts(again) == attempts(shard) != []
    assert again.usage == shard.usage


def test_a_checkpoint_that_a_store_took_and_denied_counts_once(
    plan: SmallPlan, output: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = open_shard(plan, output)
    save = output.save_steps

    def denied(*of: Any) -> None:
        save(*of)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(output, "save_steps", denied)
    for _ in range(3):
        shard.trajectories[0].usage["draft"].add(7, 2, 5)
        news = shard.news()
        assert news is not None
        with pytest.raises(OSError, match="Input/output"):
            shard.checkpoint("a", news)
    monkeypatch.undo()
    while news := shard.news():
        shard.checkpoint("a", news)
    assert open_shard(plan, output).usage == shard.usage == {"draft": Usage(3, 15, 15, 6)}


def test_the_usage_of_every_session_counts(plan: SmallPlan, output: RunDirectory) -> None:
    written = {"draft": 0, "target": 0}
    for _ in range(3):
        shard = open_shard(plan, output)
        for role, tokens in decode(shard, rounds=3).written.items():
            written[role] += tokens
    usage = open_shard(plan, output).usage
    assert {role: usage[role].generated for role in written} == written


def test_failed_problems_are_tried_again_by_the_next_session(plan: SmallPlan, output: RunDirectory) -> None:
    shard = open_shard(plan, output)
    decode(shard, health=Health(frozenset({1})))
    assert [t.problem_id for t in shard.trajectories if t.status == "failed"] == ["p1"]
    assert decode(open_shard(plan, output)).asked == {1}


def test_checkpoints_of_another_run_are_left_out(plan: SmallPlan, output: RunDirectory) -> None:
    """Damage of what says whose output it is lets none of another input's steps in."""
    decode(open_shard(plan, output), rounds=4)
    other = open_shard(plan, output, Identity("the same configuration", "another input"))
    assert attempts(other) == []
    assert not any(t.rounds for t in other.trajectories)
