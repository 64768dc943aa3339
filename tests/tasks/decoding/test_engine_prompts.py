"""What engines are asked: prompts that only grow, within windows, with the seeds that the steps table names."""

from __future__ import annotations

import itertools
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tasks.decoding.models import Models

from .fakes import TAG, TAIL
from .worlds import ONE_WAY, World, examples, run, splits, steps_rows, worlds


def by_problem(prompts: list[list[int]]) -> dict[int, list[list[int]]]:
    """Prompts of each problem, in the order in which they were asked; a prompt's first id is its problem's own."""
    found: dict[int, list[list[int]]] = defaultdict(list)
    for prompt in prompts:
        found[prompt[0]].append(prompt)
    return found


def recorded(world: World, data: st.DataObject) -> Models:
    models = world.models()
    run(world, models, data.draw(splits(world)))
    return models


@examples(120)
@given(worlds(methods=ONE_WAY, samples=1, failures=True), st.data())
def test_a_writers_prompts_extend_one_another(world: World, data: st.DataObject) -> None:
    models = recorded(world, data)
    for writer in models.writers.values():
        for prompts in by_problem([ask.prompt for ask in writer.engine.asks]).values():
            for before, after in itertools.pairwise(prompts):
                assert len(after) > len(before) or before == after  # a step may be empty text to another vocabulary
                assert after[: len(before)] == before


@examples(120)
@given(worlds(methods=["rsd", "best_of_n"], samples=1, candidates=1), st.data())
def test_the_reward_models_prompts_extend_what_was_kept(world: World, data: st.DataObject) -> None:
    """A step's prompt is the last one, or the last one with its rejected step taken off, and more."""
    models = recorded(world, data)
    assert models.prm is not None
    for prompts in by_problem(models.prm.engine.prompts).values():
        for number, prompt in enumerate(prompts):
            assert prompt.count(TAG) == number + 1
            assert prompt[-1] == (TAIL[-1] if world.chatty else TAG)
        for before, after in itertools.pairwise(prompts):
            kept = _before_last_step(before)
            assert after[: len(kept)] == kept


def _before_last_step(prompt: list[int]) -> list[int]:
    """A prompt as far as the tag before its last."""
    tags = [i for i, token in enumerate(prompt) if token == TAG]
    return prompt[: tags[-2] + 1] if len(tags) > 1 else prompt[:1]


@examples(150)
@given(worlds(failures=True), st.data())
def test_no_request_reaches_beyond_a_window(world: World, data: st.DataObject) -> None:
    models = recorded(world, data)
    for role, writer in models.writers.items():
        for ask in writer.engine.asks:
            assert ask.max_tokens > 0
            assert len(ask.prompt) + ask.max_tokens <= world.windows[role]
            assert ask.max_tokens <= world.settings.max_tokens
    if models.prm:
        assert all(len(prompt) <= world.windows["prm"] for prompt in models.prm.engine.prompts)


@examples(60)
@given(worlds(), st.data())
def test_an_engine_is_asked_once_for_each_attempt(world: World, data: st.DataObject) -> None:
    models = world.models()
    rows = steps_rows(run(world, models, data.draw(splits(world))))
    for role, writer in models.writers.items():
        assert sorted(ask.seed for ask in writer.engine.asks) == sorted(r["seed"] for r in rows if r["role"] == role)
    if models.prm:
        scored = [r for r in rows if r["reward"] is not None]  # equal candidates once
        unlike = {(r["problem_id"], r["sample"], r["step"], r["parent"], *r["token_ids"]) for r in scored}
        assert len(models.prm.engine.prompts) == len(unlike) <= len(scored)


@examples(60)
@given(worlds(failures=True))
def test_prompts_are_left_unchanged_by_what_follows(world: World) -> None:
    """The same world twice asks the same: an engine's record is not the trajectory's own, growing list."""
    first, second = world.models(), world.models()
    run(world, first)
    run(world, second)
    for role in first.writers:
        assert first.writers[role].engine.asks == second.writers[role].engine.asks


@examples(60)
@given(worlds())
def test_usage_adds_up_to_what_was_asked(world: World) -> None:
    models = world.models()
    trajectories = run(world, models)
    rows = steps_rows(trajectories)
    for role, writer in models.writers.items():
        usage = models.usage[role]
        asks = writer.engine.asks
        assert (usage.requests, usage.prefilled) == (len(asks), sum(len(a.prompt) for a in asks))
        assert usage.generated == sum(r["tokens"] for r in rows if r["role"] == role)
    if models.prm:
        prompts = models.prm.engine.prompts
        usage = models.usage["prm"]
        assert (usage.requests, usage.prefilled, usage.generated) == (len(prompts), sum(map(len, prompts)), 0)
    for role, usage in models.usage.items():
        assert usage.requests == sum(t.usage[role].requests for t in trajectories)
        assert usage.generated == sum(t.usage[role].generated for t in trajectories)
