"""A run that is stopped anywhere, loses files or finds them twice, ends as one that was never stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import DecodingConfig
from tasks.decoding.decode import advance
from tasks.decoding.replay import replay
from tasks.decoding.requests import StepRequest, Written
from tasks.decoding.trajectory import Failure, Trajectory
from tasks.errors import EngineError

from .fakes import FakeWriter
from .reference import solve
from .worlds import Row, Split, World, examples, gained, run, solutions_rows, splits, steps_rows, worlds

Files = list[list[Row]]
"""Checkpoints: the rows of each."""


def session(world: World, files: Files, split: Split, rounds: int | None = None, every: int = 1) -> list[Trajectory]:
    """One process of a run: takes up what the files hold and adds its own after `every` so many rounds of a group, for
    `rounds` rounds of each trajectory or all."""
    trajectories = world.trajectories()
    replay(trajectories, [row for rows in files for row in rows], world.settings.proposals)
    kept = {t: len(t.attempts) for t in trajectories}
    models = world.models()

    async def one(group: list[Trajectory]) -> None:
        done = 0

        async def follow(t: Trajectory) -> None:
            nonlocal done
            here = 0
            while here != rounds and await advance(t, models, world.settings):
                here, done = here + 1, done + 1
                if done % every == 0:
                    keep(group)

        await asyncio.gather(*map(follow, group))
        keep(group)

    def keep(group: list[Trajectory]) -> None:
        if rows := gained(group, kept):
            files.append(rows)

    async def all_at_once() -> None:
        await asyncio.gather(*(one([trajectories[i] for i in part]) for part in split))

    asyncio.run(all_at_once())
    return trajectories


@st.composite
def damage(draw: st.DrawFn, files: Files) -> Files:
    """Files as a crash, a retried write or a careless hand may leave them: some lost, some twice, some not whole."""
    if not files:
        return files
    kept = draw(st.lists(st.sampled_from(files), min_size=max(0, len(files) - 2), max_size=len(files) + 2))
    rows = [row for file in kept for row in file]
    if rows and draw(st.booleans()):
        torn = draw(st.integers(0, len(kept) - 1))
        keep = draw(st.lists(st.booleans(), min_size=len(kept[torn]), max_size=len(kept[torn])))
        kept[torn] = [row for row, stays in zip(kept[torn], keep, strict=True) if stays]
    return kept


def assert_same(world: World, resumed: list[Trajectory]) -> None:
    straight = run(world)
    assert steps_rows(resumed, "wave") == steps_rows(straight, "wave")
    assert solutions_rows(world, resumed) == solutions_rows(world, straight)


@examples(120)
@given(st.data())
def test_stopped_after_any_rounds_and_taken_up_in_other_groups(data: st.DataObject) -> None:
    world: World = data.draw(worlds(failures=True))
    files: Files = []
    for rounds in data.draw(st.lists(st.integers(0, 4), max_size=3)):
        session(world, files, data.draw(splits(world)), rounds, data.draw(st.integers(1, 3)))
    assert_same(world, session(world, files, data.draw(splits(world))))


@examples(120)
@given(st.data())
def test_lost_doubled_and_torn_files(data: st.DataObject) -> None:
    world: World = data.draw(worlds(failures=True))
    files: Files = []
    for rounds in data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)):
        session(world, files, data.draw(splits(world)), rounds, data.draw(st.integers(1, 3)))
        files = data.draw(damage(files))
    assert_same(world, session(world, files, data.draw(splits(world))))


@examples(80)
@given(worlds(failures=True), st.data())
def test_one_lost_file_in_the_middle(world: World, data: st.DataObject) -> None:
    files: Files = []
    everything = session(world, files, [list(range(len(world.trajectories())))])
    if files:
        del files[data.draw(st.integers(0, len(files) - 1))]
    assert_same(world, session(world, files, [list(range(len(everything)))]))


@examples(60)
@given(worlds(failures=True))
def test_resumed_run_matches_the_reference(world: World) -> None:
    files: Files = []
    whole = [list(range(len(world.trajectories())))]
    for _ in range(world.settings.max_steps):
        session(world, files, whole, rounds=1)
    trajectories = session(world, files, whole)
    answers = [solve(world, t.problem_id, t.sample) for t in trajectories]
    assert steps_rows(trajectories, "wave", "prm_tokens") == [a for answer in answers for a in answer.attempts]
    assert [t.status for t in trajectories] == [answer.status for answer in answers]


@examples(60)
@given(worlds())
def test_what_was_kept_is_not_asked_again(world: World) -> None:
    files: Files = []
    whole = [list(range(len(world.trajectories())))]
    session(world, files, whole)
    before = len(files)
    session(world, files, whole)
    assert len(files) == before


@examples(60)
@given(st.data())
def test_rounds_of_a_trajectory_grow_over_sessions(data: st.DataObject) -> None:
    world: World = data.draw(worlds())
    files: Files = []
    for rounds in data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
        session(world, files, data.draw(splits(world)), rounds)
    for t in session(world, files, data.draw(splits(world))):
        of_steps = [wave for wave, a in zip(t.waves, t.attempts, strict=True) if a.accepted]
        assert of_steps == sorted(set(of_steps))
        assert all(t.waves[i] == t.waves[i - 1] for i, a in enumerate(t.attempts) if a.attempt > 0)


class Dying(FakeWriter):
    """Its engine is gone after so many calls."""

    calls_left = 0

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure]:
        if self.calls_left == 0:
            raise EngineError("the engine died")
        self.calls_left -= 1
        return await super().ask(asks)


@examples(60)
@given(worlds(methods=["rsd"]), st.sampled_from(["draft", "target"]), st.integers(0, 4))
def test_engine_that_dies_fails_no_problem_and_loses_only_a_round(world: World, role: str, calls: int) -> None:
    engine = Dying(role, world.vocabulary(role), world.eos_rate, seeds=world.seeds)
    engine.calls_left = calls
    models = world.models({role: engine})
    files: Files = []
    trajectories = world.trajectories()
    kept = dict.fromkeys(trajectories, 0)

    async def follow(t: Trajectory) -> None:
        while await advance(t, models, world.settings):
            files.append(gained(trajectories, kept))

    async def until_it_dies() -> None:
        async with asyncio.TaskGroup() as group:
            for t in trajectories:
                group.create_task(follow(t))

    with contextlib.suppress(ExceptionGroup):
        asyncio.run(until_it_dies())
    assert all(t.status != "failed" for t in trajectories)
    assert_same(world, session(world, files, [list(range(len(trajectories)))]))


def test_engine_death_reaches_the_caller() -> None:
    """Which must not commit."""
    world = World(
        problems={"p": "ab"},
        settings=DecodingConfig(method="target"),
        windows={"target": 100},
        vocabularies={"target": "pieces"},
        eos_rate=0.1,
        failure_rate=0.0,
    )
    models = world.models({"target": Dying("target", world.vocabulary("target"), 0.1)})
    with pytest.raises(EngineError, match="the engine died"):
        run(world, models)
