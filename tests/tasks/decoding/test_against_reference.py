"""Trajectories in flight together are decoded as a plain loop over each problem alone would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from .reference import solve
from .worlds import World, examples, run, solutions_rows, splits, steps_rows, worlds


@examples(250)
@given(st.data())
def test_any_company_gives_what_one_problem_at_a_time_gives(data: st.DataObject) -> None:
    world: World = data.draw(worlds(failures=True))
    trajectories = run(world, split=data.draw(splits(world)))

    answers = [solve(world, t.problem_id, t.sample) for t in trajectories]
    solutions = solutions_rows(world, trajectories)
    # prm_tokens has its own definition and its own test: test_reward_model_tokens.py
    assert steps_rows(trajectories, "wave", "prm_tokens") == [a for answer in answers for a in answer.attempts]
    assert [(s["solution"], s["status"], s["error"]) for s in solutions] == [
        (answer.text, answer.status, answer.error) for answer in answers
    ]


@examples(100)
@given(st.data())
def test_order_and_starts_change_nothing(data: st.DataObject) -> None:
    world: World = data.draw(worlds(failures=True))
    one, many = run(world), run(world, split=data.draw(splits(world)))
    assert steps_rows(one) == steps_rows(many)
    assert solutions_rows(world, one) == solutions_rows(world, many)


@examples(60)
@given(st.data())
def test_neighbours_change_nothing(data: st.DataObject) -> None:
    world: World = data.draw(worlds(failures=True))
    together = run(world)
    index = data.draw(st.integers(0, len(together) - 1))
    alone = run(world, split=[[index]])[index]
    assert steps_rows([alone]) == steps_rows([together[index]])
    assert solutions_rows(world, [alone]) == solutions_rows(world, [together[index]])


@examples(60)
@given(worlds(methods=["rsd"]))
def test_samples_asked_for_later_leave_the_first_as_they_are(world: World) -> None:
    more = world.settings.model_copy(update={"samples": world.settings.samples + 1})
    wider = World(**{**vars(world), "settings": more})
    first = [t for t in run(wider) if t.sample < world.settings.samples]
    assert steps_rows(first) == steps_rows(run(world))
