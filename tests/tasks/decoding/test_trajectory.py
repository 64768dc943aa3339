"""A trajectory's bookkeeping: room, status, contexts, and what a format's tag costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.decoding.trajectory import Attempt, Context, Finish, Limits, Trajectory


def attempt(step: int, tokens: int = 2, finish: Finish = "step", **more: object) -> Attempt:
    return Attempt(step, 0, "draft", "a\n\n", [1] * tokens, finish, 0, accepted=True, **more)  # type: ignore[arg-type]


def trajectory(prompt: int = 5, **contexts: int) -> Trajectory:
    lengths = contexts or {"draft": prompt}
    return Trajectory("p", 0, {role: Context.of([9] * length) for role, length in lengths.items()})


def limits(max_steps: int = 10, max_tokens: int = 100, tag_tokens: int = 0, **windows: int) -> Limits:
    return Limits(max_steps, max_tokens, windows or {"draft": 1000}, tag_tokens)


def test_room_is_what_is_left_of_the_budget() -> None:
    t = trajectory()
    assert t.room(limits(max_tokens=7)) == 7
    t.take([attempt(0, tokens=3)])
    assert t.room(limits(max_tokens=7)) == 4


def test_room_is_the_least_over_the_windows_of_all_roles() -> None:
    t = trajectory(draft=5, target=8, prm=6)
    assert t.room(limits(draft=20, target=20, prm=20)) == 12
    assert t.room(limits(draft=20, target=30, prm=15)) == 9


def test_room_leaves_the_reward_model_its_tag() -> None:
    t = trajectory(draft=5, prm=5)
    assert t.room(limits(draft=20, prm=20, tag_tokens=1)) == 14


def test_a_context_remembers_where_steps_end() -> None:
    context = Context.of([1, 2, 3])
    context.extend([4])
    context.extend([])
    context.extend([5, 6])
    assert (context.ids.tolist(), context.ends, context.steps) == ([1, 2, 3, 4, 5, 6], [3, 4, 4, 6], 3)


def test_a_context_does_not_share_the_prompt_it_was_made_from() -> None:
    """Samples of a problem start from the same list of ids."""
    prompt = [1, 2]
    one, other = Context.of(prompt), Context.of(prompt)
    one.extend([3])
    assert (prompt, other.ids.tolist()) == ([1, 2], [1, 2])


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([], None),
        ([attempt(0)], None),
        ([attempt(0, finish="eos")], "finished"),
        ([attempt(0, finish="length")], "max_tokens"),
        ([attempt(0, tokens=10)], "max_tokens"),
        ([attempt(0, tokens=10, finish="eos")], "finished"),
        ([attempt(0), attempt(1), attempt(2)], "max_steps"),
        ([attempt(0), attempt(1), attempt(2, finish="eos")], "finished"),
        ([attempt(0), attempt(1), attempt(2, finish="length")], "max_tokens"),
    ],
)
def test_status(steps: list[Attempt], status: str | None) -> None:
    t = trajectory()
    for step in steps:
        t.take([step])
    t.update_status(limits(max_steps=3, max_tokens=10))
    assert t.status == status


def test_a_prompt_that_fills_its_window_ends_without_a_step() -> None:
    t = trajectory(draft=20)
    t.update_status(limits(draft=20))
    assert (t.status, t.steps) == ("max_tokens", [])


def test_a_failure_is_not_settled_over() -> None:
    t = trajectory()
    t.take([attempt(0, finish="eos")])
    t.fail("draft: no")
    t.update_status(limits())
    assert (t.status, t.error) == ("failed", "draft: no")


@pytest.mark.parametrize(
    "step",
    [
        [],
        [Attempt(0, 0, "draft", "a", [1], "step", 0)],
        [attempt(1)],
        [Attempt(0, 0, "draft", "a", [1], "step", 0), attempt(0)],
        [attempt(0), replace(attempt(0), attempt=1)],
    ],
    ids=["no attempt", "none accepted", "a step left out", "two attempts of one number", "two accepted"],
)
def test_what_is_not_the_next_step_is_refused(step: list[Attempt]) -> None:
    with pytest.raises(AssertionError):
        trajectory().take(step)


def test_an_ended_trajectory_takes_no_step() -> None:
    t = trajectory()
    t.fail("draft: no")
    with pytest.raises(AssertionError):
        t.take([attempt(0)])
