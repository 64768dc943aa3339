"""Thresholds that share a memory: each gets what it would have got alone, and nothing is made twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Threshold
from tasks.decoding.decode import advance
from tasks.decoding.models import Models
from tasks.decoding.replay import replay
from tasks.decoding.sweep import Known, Memory, RememberingModels
from tasks.decoding.trajectory import Trajectory

from .worlds import World, examples, gained, run, solutions_rows, splits, steps_rows, worlds

THRESHOLDS = st.lists(st.integers(0, 10).map(lambda k: k / 10), min_size=1, max_size=5, unique=True)


def at(world: World, threshold: float) -> World:
    accept = Threshold(threshold=threshold)
    return replace(world, settings=world.settings.model_copy(update={"accept": accept}))


def alike(world: World) -> bool:
    return world.vocabularies["draft"] == world.vocabularies["target"]


def remembering(world: World, memory: Memory | None = None) -> RememberingModels:
    return RememberingModels(world.models(), memory or Memory(alike(world)))


async def decode_all(world: World, models: Models, split: Any = None) -> list[Trajectory]:
    trajectories = world.trajectories()
    groups = [[trajectories[i] for i in part] for part in split] if split else [trajectories]

    async def one(trajectory: Trajectory, late: int) -> None:
        for _ in range(late):
            await asyncio.sleep(0)
        while await advance(trajectory, models, world.settings):
            pass

    await asyncio.gather(*(one(t, 3 * n) for n, group in enumerate(groups) for t in group))
    return trajectories


def asked(models: Models) -> list[Any]:
    """What engines were asked for: role, prompt and seed."""
    found: list[Any] = []
    for role, model in models.writers.items():
        found += [(role, tuple(ask.prompt), ask.seed) for ask in model.engine.asks]  # type: ignore[attr-defined]
    return found


def looks(models: Models) -> list[Any]:
    assert models.prm is not None
    return [tuple(prompt) for prompt in models.prm.engine.prompts]  # type: ignore[attr-defined]


@examples(150)
@given(worlds(methods=["rsd"], failures=True), THRESHOLDS, st.data())
def test_every_threshold_gets_what_it_would_get_alone(world: World, thresholds: list[float], data: Any) -> None:
    models = remembering(world)
    parts = [data.draw(splits(world)) for _ in thresholds]

    async def together() -> list[list[Trajectory]]:
        return await asyncio.gather(
            *(decode_all(at(world, d), models, part) for d, part in zip(thresholds, parts, strict=True))
        )

    union = Memory(alike(world))
    alone_asked: list[Any] = []
    alone_looks: list[Any] = []
    for threshold, found in zip(thresholds, asyncio.run(together()), strict=True):
        own = at(world, threshold)
        alone_models = own.models()
        alone = run(own, alone_models)
        assert steps_rows(found, "wave") == steps_rows(alone, "wave")
        assert solutions_rows(own, found) == solutions_rows(own, alone)
        union.learn(alone)
        alone_asked += asked(alone_models)
        alone_looks += looks(alone_models)
    assert set(asked(models)) == set(alone_asked)
    assert set(looks(models)) == set(alone_looks)
    if world.failure_rate == 0.0:
        assert len(asked(models)) == len(union)  # each once
    assert len(asked(models)) <= len(alone_asked)
    assert len(looks(models)) <= len(alone_looks)


@examples(80)
@given(worlds(methods=["rsd"]), THRESHOLDS, THRESHOLDS)
def test_tables_of_earlier_thresholds_are_memory_too(world: World, earlier: list[float], later: list[float]) -> None:
    memory, before = Memory(alike(world)), []
    for threshold in earlier:
        own = at(world, threshold)
        models = own.models()
        done = run(own, models)
        before += asked(models)
        rows = gained(done, dict.fromkeys(done, 0))
        read = [Trajectory(t.problem_id, t.sample, {}) for t in done]
        replay(read, rows)
        memory.learn(read)
    for threshold in later:
        own = at(world, threshold)
        models = remembering(own, memory)
        found = asyncio.run(decode_all(own, models))
        assert not set(asked(models)) & set(before) or not alike(world)
        assert steps_rows(found, "wave") == steps_rows(run(own), "wave")
        if threshold in earlier:
            assert not asked(models)
            assert not looks(models)


async def test_one_that_gives_up_leaves_its_nodes_to_others() -> None:
    known: Known[str] = Known()
    node = ("p", 0, "", "draft", 0)
    begun = asyncio.Event()

    async def never(indices: list[int]) -> list[str]:
        begun.set()
        await asyncio.Event().wait()
        return []

    async def quickly(indices: list[int]) -> list[str]:
        return ["written"] * len(indices)

    first = asyncio.create_task(known.get([node], never))
    await begun.wait()
    second = asyncio.create_task(known.get([node, node], quickly))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ["written", "written"]
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not known.coming


@examples(40)
@given(worlds(methods=["rsd"]), THRESHOLDS)
def test_a_closed_memory_serves_and_learns_nothing(world: World, thresholds: list[float]) -> None:
    """A run over millions of problems keeps none of them."""
    memory = Memory(alike(world))
    own = at(world, thresholds[0])
    known = run(own, own.models())
    memory.learn(known[: len(known) // 2])
    memory.close()
    before = len(memory)
    models = remembering(own, memory)
    found = asyncio.run(decode_all(own, models))
    assert steps_rows(found, "wave") == steps_rows(known, "wave")
    assert len(memory) == before
    assert (
        len(asked(models)) == len({(t.problem_id, t.sample, i) for t in found for i in range(len(t.attempts))}) - before
    )
