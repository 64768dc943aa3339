"""What may be in flight together fits the caches, as far as lengths can be foreseen; and something always goes on."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import Config
from tasks.decoding.beam import Search
from tasks.decoding.trajectory import Attempt, Context, Trajectory
from tasks.engines.concurrency import FEWEST, LARGEST, MOST, SATURATED, Flight, plan_flight
from tasks.generation.admission import Admission, Lengths
from tasks.generation.cohorts import UNCOMMITTED, InFlight

LONGEST = 100


def flight(room: int | None, cohorts: int = 50) -> Flight:
    return Flight(4, cohorts, room is not None, "draft" if room else None, room, 1, LONGEST, "as the test says")


def cohort(number: int, size: int = 4, prompt: int = 10) -> list[Trajectory]:
    return [Trajectory(f"p{number}-{i}", 0, {"draft": Context.of([1] * prompt)}) for i in range(size)]


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
@given(st.data())
def test_cohorts_in_flight_never_pass_what_was_estimated(data: st.DataObject) -> None:
    """Every solution's length is drawn beforehand; each wave writes up to 30 tokens. Where no estimate was below what
    came, the cache never overflows unless by a single cohort; and all cohorts come to their end."""
    room = data.draw(st.integers(1, 3000))
    lengths = data.draw(st.lists(st.lists(st.integers(1, LONGEST), min_size=1, max_size=6), min_size=1, max_size=8))
    learns = data.draw(st.booleans())
    flying = InFlight(flight(room), LONGEST)
    if not learns:
        assert flying.admission is not None
        flying.admission.lengths.end = lambda length: None  # type: ignore[method-assign]
    most = 0

    async def decode(entry: int, trajectories: list[Trajectory], ends: list[int]) -> None:
        nonlocal most
        while any(t.status is None for t in trajectories):
            await asyncio.sleep(0)
            for t, end in zip(trajectories, ends, strict=True):
                context = t.contexts["draft"]
                if t.status is None:
                    context.extend([1] * min(30, end + 10 - len(context.ids)))
                    t.status = "finished" if len(context.ids) == end + 10 else None
            held = [len(t.contexts["draft"].ids) for c in alive.values() for t in c if t.status is None]
            if len(alive) > 1 and not learns:
                assert sum(held) <= room
            flying.moved()
        del alive[entry]
        flying.leave(entry)

    alive: dict[int, list[Trajectory]] = {}

    async def scene() -> int:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for number, ends in enumerate(lengths):
                trajectories = cohort(number, len(ends))
                entry = await flying.admit(trajectories)
                alive[entry] = trajectories
                group.create_task(decode(entry, trajectories, ends))
        return len(alive)

    assert asyncio.run(scene()) == 0
    assert not flying.going


@given(st.integers(1, 10_000), st.lists(st.integers(0, LONGEST)), st.lists(st.integers(1, 50), max_size=30))
def test_what_is_admitted_is_expected_to_fit(room: int, ended: list[int], prompts: list[int]) -> None:
    admission = Admission(room, LONGEST)
    for length in ended:
        admission.lengths.end(length)
    assert admission.admits(([], []), prompts) == (admission.need(([], []), prompts) <= room)
    assert admission.need(([5], [7]), prompts) >= 12 + sum(prompts)


def test_more_are_admitted_as_solutions_turn_out_short() -> None:
    flying = InFlight(flight(room=4 * (10 + LONGEST)), LONGEST)
    first, second = cohort(0), cohort(1)

    async def scene() -> None:
        await flying.admit(first)
        assert not flying.admits(second)
        for t in first[:3]:
            t.contexts["draft"].extend([1] * 5)
            t.status = "finished"
        assert flying.admits(second)

    asyncio.run(scene())


def test_a_search_needs_room_for_all_its_beams_and_its_prompt_once() -> None:
    def searches(number: int) -> list[Trajectory]:
        return [Search(f"p{number}", 0, {"draft": Context.of([1] * 10)}, most=3)]

    async def scene() -> None:
        enough, less = (InFlight(flight(room=2 * (10 + 3 * LONGEST) - n), LONGEST, paths=3) for n in (0, 1))
        for flying, admits in ((enough, True), (less, False)):
            going = searches(0)
            await flying.admit(going)
            assert flying.admits(searches(1)) is admits
        last = Attempt(0, 0, "draft", "a", array("i", [1]), "eos", 0)
        going[0].take([last], 0)
        assert less.admits(searches(1))  # one beam is left of three

    asyncio.run(scene())


def test_a_single_cohort_is_always_admitted_and_a_number_of_cohorts_is_kept() -> None:
    async def scene() -> None:
        small = InFlight(flight(room=1), LONGEST)
        await small.admit(cohort(0))
        assert not small.admits(cohort(1))
        counted = InFlight(flight(room=None, cohorts=2), LONGEST)
        await counted.admit(cohort(0))
        entry = await counted.admit(cohort(1))
        assert not counted.admits(cohort(2))
        counted.leave(entry)
        assert counted.admits(cohort(2))

    asyncio.run(scene())


def test_shards_that_wait_for_their_commit_hold_new_cohorts_back() -> None:
    flying = InFlight(flight(room=None), LONGEST)
    flying.committing = UNCOMMITTED
    assert not flying.admits(cohort(0))


# --- how many, and how large


def planned(tokens: dict[str, int], total: int = 100_000, turns: bool = False, **run: Any) -> Flight:
    models = {role: {"model": role} for role in ("draft", "target", "prm")}
    values = {"input": {"path": "x"}, "output": {"path": "y"}, "models": models, "run": run}
    windows = dict.fromkeys(models, 8192)
    return plan_flight(Config.model_validate(values), tokens, windows, total, turns=turns, cpu=False)


def test_the_cache_with_the_least_room_binds() -> None:
    found = planned({"draft": 10**7, "target": 4608 * 100, "prm": 10**6})
    assert (found.binds, found.at_full_length, found.length) == ("target", 100, 4608)
    assert found.cohort_size <= 100 // 3
    assert found.by_tokens


@given(st.integers(1, 10**8), st.integers(1, 10**6), st.integers(1, 5000), st.booleans())
def test_cohorts_are_of_a_size_that_engines_can_use(tokens: int, total: int, shard_size: int, turns: bool) -> None:
    found = planned({"target": tokens}, total, turns, shard_size=shard_size)
    assert 1 <= found.cohort_size <= (1.5 * LARGEST if turns else 1.5 * SATURATED)
    assert found.cohort_size <= min(total, shard_size)
    assert found.cohorts >= 1
    if not turns and found.at_full_length and found.at_full_length >= 4 * FEWEST:
        assert 2 * found.cohort_size <= found.at_full_length


def test_a_shard_is_cut_evenly_and_a_small_run_into_several_cohorts() -> None:
    assert planned({"target": 10**8}, shard_size=1024).cohort_size == SATURATED
    assert planned({"target": 10**8}, total=500).cohort_size == 125
    assert planned({"target": 10**8}, total=500, shard_size=128).cohort_size == 128


def test_what_the_config_says_is_done() -> None:
    found = planned({"target": 4608}, cohort_size=300, cohorts=7)
    assert (found.cohort_size, found.cohorts, found.by_tokens, found.trajectories) == (300, 7, False, 2100)
    assert planned({"target": 10**8}, cohort_size=64).trajectories == MOST
