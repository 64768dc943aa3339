"""What may be in flight together fits the caches, as far as lengths can be foreseen; and something always goes on."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.config import Config, RunConfig
from tasks.decoding.beam import Search
from tasks.decoding.trajectory import Attempt, Context, Trajectory
from tasks.engines.concurrency import MOST, MOST_IN_TURNS, Flight, plan_flight
from tasks.generation.admission import Lengths
from tasks.generation.in_flight import UNCOMMITTED, InFlight

LONGEST = 100


def flight(room: int | None, most: int = 200) -> Flight:
    return Flight(most, room is not None, "draft" if room else None, room, 1, LONGEST, "as the test says")


def trajectory(number: int, prompt: int = 10) -> Trajectory:
    return Trajectory(f"p{number}", 0, {"draft": Context.of([1] * prompt)})


# --- how long solutions become


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), st.lists(st.integers(0, 4000)), st.lists(st.integers(0, 3000), max_size=40))
def test_what_is_expected_lies_between_what_is_there_and_the_longest(
    longest: int, ended: list[int], live: list[int]
) -> None:
    lengths = Lengths(longest)
    for length in ended:
        lengths.end(length)
    new, going = lengths.expected(live)
    assert 0 <= new <= longest
    assert (going >= np.minimum(live, longest)).all()
    assert (going <= longest).all()


def test_before_anything_ended_all_are_taken_for_the_longest() -> None:
    new, going = Lengths(LONGEST).expected([0, 5, 99])
    assert (new, list(going)) == (LONGEST, [LONGEST] * 3)


def test_once_all_have_ended_their_mean_is_expected() -> None:
    lengths = Lengths(LONGEST)
    for length in (10, 20, 30, 80):
        lengths.end(length)
    assert lengths.expected([])[0] == pytest.approx(35)
    assert lengths.expected([25] * 1000)[1][0] == pytest.approx(55)  # who is past 25 becomes 30 or 80


def test_short_ones_that_end_first_do_not_mislead() -> None:
    """One in four has ended, at 10; the others stand at 40: nobody knows how long they become."""
    lengths = Lengths(LONGEST)
    lengths.end(10)
    assert lengths.expected([40, 40, 40])[0] == pytest.approx((10 + 3 * LONGEST) / 4)


# --- admission


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.lists(st.integers(1, LONGEST), min_size=1, max_size=40), st.booleans())
def test_trajectories_in_flight_never_pass_what_was_estimated(room: int, ends: list[int], learns: bool) -> None:
    """Every solution's length is drawn beforehand; each round writes up to 30 tokens. Where no estimate was below what
    came, the cache never overflows unless by a single trajectory; and all come to their ends, in order of their
    starts."""
    flying = InFlight(flight(room), LONGEST)
    assert flying.admission is not None
    if not learns:
        flying.admission.lengths.end = lambda length: None  # type: ignore[method-assign]

    async def decode(t: Trajectory, end: int) -> None:
        context = t.contexts["draft"]
        while t.status is None:
            await asyncio.sleep(0)
            context.extend([1] * min(30, end + 10 - len(context.ids)))
            t.status = "finished" if len(context.ids) == end + 10 else None
            if len(flying.going) > 1 and not learns:
                assert sum(len(other.contexts["draft"].ids) for other in flying.going) <= room
        flying.leave(t)

    async def scene() -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for number, end in enumerate(ends):
                t = trajectory(number)
                await flying.admit(t)
                group.create_task(decode(t, end))

    asyncio.run(scene())
    assert not flying.going


@given(st.integers(1, 10_000), st.lists(st.integers(0, LONGEST)), st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_what_is_admitted_is_expected_to_fit(room: int, ended: list[int], written: list[int]) -> None:
    async def scene() -> None:
        flying = InFlight(flight(room), LONGEST)
        assert flying.admission is not None
        for length in ended:
            flying.admission.lengths.end(length)
        for number, tokens in enumerate(written):
            t = trajectory(number)
            admits = flying.admits(t)
            need = sum(flying.going.values()) + 10 + flying.admission.expected
            assert admits == (not flying.going or need <= room)
            if admits:
                await flying.admit(t)
                t.contexts["draft"].extend([1] * tokens)

    asyncio.run(scene())


def test_more_are_admitted_as_solutions_turn_out_short() -> None:
    async def scene() -> None:
        flying = InFlight(flight(room=4 * (10 + LONGEST)), LONGEST)
        first = [trajectory(n) for n in range(4)]
        for t in first:
            await flying.admit(t)
        assert not flying.admits(trajectory(4))
        for t in first[:3]:
            t.contexts["draft"].extend([1] * 5)
            t.status = "finished"
            flying.leave(t)
        for n in range(4, 10):
            assert flying.admits(trajectory(n))
            await flying.admit(trajectory(n))

    asyncio.run(scene())


def test_a_search_needs_room_for_all_its_beams_and_its_prompt_once() -> None:
    def search(number: int) -> Trajectory:
        return Search(f"p{number}", 0, {"draft": Context.of([1] * 10)}, most=3)

    async def scene() -> None:
        enough, less = (InFlight(flight(room=2 * (10 + 3 * LONGEST) - n), LONGEST, paths=3) for n in (0, 1))
        for flying, admits in ((enough, True), (less, False)):
            going = search(0)
            await flying.admit(going)
            assert flying.admits(search(1)) is admits
        going.take([Attempt(0, 0, "draft", "a", array("i", [1]), "eos", 0)])
        less.ended = 1
        assert less.admits(search(1))  # one beam is left of three

    asyncio.run(scene())


def test_a_single_one_is_always_admitted_and_a_number_is_kept() -> None:
    async def scene() -> None:
        small = InFlight(flight(room=1), LONGEST)
        await small.admit(trajectory(0))
        assert not small.admits(trajectory(1))
        counted = InFlight(flight(room=None, most=2), LONGEST)
        await counted.admit(trajectory(0))
        second = trajectory(1)
        await counted.admit(second)
        assert not counted.admits(trajectory(2))
        counted.leave(second)
        assert counted.admits(trajectory(2))

    asyncio.run(scene())


def test_shards_that_wait_for_their_commit_hold_new_ones_back() -> None:
    flying = InFlight(flight(room=None), LONGEST)
    flying.committing = UNCOMMITTED
    assert not flying.admits(trajectory(0))


# --- how many, and how large


def planned(tokens: dict[str, int], total: int = 100_000, turns: bool = False, **run: Any) -> Flight:
    models = {role: {"model": role} for role in ("draft", "target", "prm")}
    values = {"input": {"path": "x"}, "output": {"path": "y"}, "models": models, "run": run}
    windows = dict.fromkeys(models, 8192)
    return plan_flight(Config.model_validate(values), tokens, windows, total, turns=turns, cpu=False)


def test_the_cache_with_the_least_room_binds() -> None:
    found = planned({"draft": 10**7, "target": 4608 * 100, "prm": 10**6})
    assert (found.binds, found.at_full_length, found.length) == ("target", 100, 4608)
    assert found.by_tokens


@given(st.integers(1, 10**8), st.integers(1, 10**6), st.booleans())
def test_no_more_are_in_flight_than_the_run_has_or_engines_can_use(tokens: int, total: int, turns: bool) -> None:
    found = planned({"target": tokens}, total, turns)
    assert 1 <= found.trajectories <= min(total, MOST_IN_TURNS if turns else MOST)
    assert found.because == "the whole run" or found.trajectories < total


def test_what_the_config_says_is_done() -> None:
    found = planned({"target": 4608}, in_flight=2100)
    assert (found.by_tokens, found.trajectories) == (False, 2100)


@pytest.mark.parametrize("name", ["cohort_size", "cohorts"])
def test_what_is_no_setting_any_more_names_what_replaces_it(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is no setting any more.* run.in_flight"):
        RunConfig.model_validate({name: 3})
    assert RunConfig.model_validate({name: None}) == RunConfig()
