"""The simulation's arithmetic: work is conserved, one device's seconds add up, overlap takes waiting away."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_devices import QWEN_1_5B, QWEN_72B, QWEN_PRM_7B, Gpu, Serving
from simulated_engines import Cards, Engine, Job, play
from simulated_problems import Problems, Shape, draw
from simulated_runs import Layout, simulate
from simulated_waves import Caching, Meter, rsd, target_alone

GPU = Gpu(73.6e9, 2e12, 5e14, 4e10, 1e-3, 1e-5, 3e-5)
ROLES = ("draft", "prm", "target")
ALL, NONE = Caching(frozenset(ROLES)), Caching(frozenset())


def servings(cards: int) -> dict[str, Serving]:
    return {
        "draft": Serving(QWEN_1_5B, GPU, cards),
        "prm": Serving(QWEN_PRM_7B, GPU, cards),
        "target": Serving(QWEN_72B, GPU, 1, cards),
    }


def engines(sequences: int = 64) -> dict[str, Engine]:
    return {role: Engine(serving, sequences) for role, serving in servings(4).items()}


def own_cards(sequences: int = 64) -> list[Cards]:
    return [Cards({role: engine}) for role, engine in engines(sequences).items()]


def played(
    places: list[Cards], problems: Problems, size: int, in_flight: int, caching: Caching = ALL
) -> tuple[float, dict[str, float], Meter]:
    """Wall seconds, busy seconds of each role, and what was asked for, of a whole run."""
    meter = Meter()

    def cohorts() -> Iterator[Iterator[Job]]:
        for first in range(0, len(problems), size):
            yield rsd(problems, first, size, caching, meter)

    times = list(play(places, cohorts(), in_flight))
    assert len(times) == math.ceil(len(problems) / size)
    assert times == sorted(times)
    return times[-1], {role: s for place in places for role, s in place.busy.items()}, meter


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 60),
    size=st.integers(1, 30),
    in_flight=st.integers(1, 6),
    sequences=st.integers(1, 40),
    shared=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_step_is_done_once_however_it_is_cut(
    count: int, size: int, in_flight: int, sequences: int, shared: bool, seed: int
) -> None:
    problems = draw(count, Shape(steps=5, tokens=9), seed)
    places = [Cards(engines(sequences))] if shared else own_cards(sequences)
    wall, busy, meter = played(places, problems, size, in_flight)
    rejected = (problems.target > 0) & ~problems.kept
    assert meter.steps == problems.steps.sum()
    assert meter.tokens["draft", "written"] == problems.draft.sum()
    assert meter.tokens["target", "written"] == problems.target[rejected].sum()
    assert meter.tokens["prm", "written"] == 0
    assert max(busy.values()) <= wall * (1 + 1e-9)
    assert not any(place.has_work() for place in places)
    if shared:
        assert wall == pytest.approx(sum(busy.values()))


def test_a_single_cohort_on_cards_of_its_own_waits_for_one_engine_at_a_time() -> None:
    wall, busy, _ = played(own_cards(), draw(100, Shape(), 1), size=100, in_flight=1)
    assert wall == pytest.approx(sum(busy.values()))


def test_cohorts_in_flight_overlap_on_cards_of_their_own_and_not_on_shared_ones() -> None:
    problems = draw(400, Shape(), 2)
    wall, busy, _ = played(own_cards(), problems, size=50, in_flight=4)
    assert max(busy.values()) <= wall < 0.8 * sum(busy.values())
    wall, busy, _ = played([Cards(engines())], problems, size=50, in_flight=4)
    assert wall == pytest.approx(sum(busy.values()))


def test_caches_change_what_is_computed_and_nothing_else() -> None:
    problems = draw(80, Shape(), 3)
    with_cache = played(own_cards(), problems, 20, 2, ALL)
    without = played(own_cards(), problems, 20, 2, NONE)
    for role in ROLES:
        read = [sum(m.tokens[role, what] for what in ("prefilled", "cached")) for _, _, m in (with_cache, without)]
        assert read[0] == read[1]
        assert without[2].tokens[role, "cached"] == 0
        assert without[2].tokens[role, "prefilled"] > with_cache[2].tokens[role, "prefilled"] > 0
        assert without[1][role] > with_cache[1][role]
    assert without[0] > with_cache[0]


def test_the_prm_reads_each_token_once_beside_its_tags_and_the_rests_of_blocks() -> None:
    problems = draw(50, Shape(kept=0.999), 4)
    meter = played(own_cards(), problems, 50, 1)[2]
    visits = problems.steps.sum()
    once = len(problems) * problems.prompt + problems.chosen.sum() + visits
    assert once <= meter.tokens["prm", "prefilled"] < once + 16 * visits


def test_weights_are_moved_at_every_change_of_turns() -> None:
    problems = draw(40, Shape(kept=0.5, kept_weight=200), 5)
    cards = Cards(engines(), take_turns=True)
    wall, busy, _ = played([cards], problems, 40, 1, NONE)
    waves = int(problems.steps.max())
    rewritten = ((problems.target > 0) & ~problems.kept).any(axis=0)
    swap = {role: serving.swap_seconds() for role, serving in servings(4).items()}
    # each wave wakes draft and PRM, and the target where a step was rejected; all but the last are put away again
    woken = waves * (swap["draft"] + swap["prm"]) + rewritten.sum() * swap["target"]
    last = "target" if rewritten[waves - 1] else "prm"
    assert busy["swaps"] == pytest.approx(2 * woken - swap[last])
    assert wall == pytest.approx(sum(busy.values()))


@settings(max_examples=50, deadline=None)
@given(
    writes=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=20), min_size=1, max_size=4),
    sequences=st.integers(1, 12),
)
def test_an_engine_ends_every_job_once_and_never_holds_too_many(writes: list[list[int]], sequences: int) -> None:
    engine = Engine(servings(4)["draft"], sequences)
    jobs = [Job("draft", np.full(len(w), 10), np.zeros(len(w), np.int64), np.array(w)) for w in writes]
    engine.waiting.extend(jobs)
    done, seconds = [], 0.0
    while engine.has_work():
        took, ended = engine.quantum()
        assert len(engine.left) <= sequences
        done += ended
        seconds += took
    assert sorted(map(id, done)) == sorted(map(id, jobs))
    longest = max(max(w) for w in writes)
    assert seconds >= longest * engine.serving.iteration_seconds(1, 0)


def test_a_roofline_has_two_sides() -> None:
    target = servings(4)["target"]
    fixed = 1e-3 + 80 * 4e-5
    stream = 72.7e9 * 2 / 4 / 2e12
    assert target.iteration_seconds(1, 0) == pytest.approx(stream + fixed)
    assert target.iteration_seconds(2000, 0) == pytest.approx(2 * 72.7e9 * 2000 / (4 * 5e14) + fixed)
    held = 1e5 * QWEN_72B.kv_bytes / (4 * 2e12)
    assert target.iteration_seconds(1, 1e5) == pytest.approx(stream + held + fixed)
    assert target.prefill_seconds(2 * 8192) == pytest.approx(2 * target.prefill_seconds(8192))
    draft = servings(4)["draft"]
    assert draft.iteration_seconds(400, 0) == Serving(QWEN_1_5B, GPU).iteration_seconds(100, 0)


def test_caches_on_the_host_cost_their_moves_and_save_the_prefill() -> None:
    problems = draw(50, Shape(), 10)
    on_cards, on_host = (
        [Cards({role: Engine(s, 64, host) for role, s in servings(4).items()})] for host in (False, True)
    )
    here, there = (played(places, problems, 50, 1, ALL) for places in (on_cards, on_host))
    assert here[2] == there[2]
    for role, serving in servings(4).items():
        tokens = sum(there[2].tokens[role, what] for what in ("written", "prefilled", "cached"))
        assert there[1][role] - here[1][role] == pytest.approx(serving.move_seconds(tokens))


def test_what_neither_cards_nor_host_can_hold_is_computed_again() -> None:
    problems = draw(13_500, Shape(), 11)
    small, large = (
        simulate(Layout("", servings(8), shared=True, host_memory=host), GPU, problems, 10_000, 1500, 3, sequences=1024)
        for host in (1e9, 1e12)
    )
    assert small
    assert large
    assert small.caching == frozenset()
    assert large.caching == frozenset(ROLES)
    assert small.tokens["target", "prefilled"] > 2 * large.tokens["target", "prefilled"]


@pytest.mark.parametrize("part", [None, 0.25])
def test_shared_cards_are_filled_by_weights_overhead_and_caches(part: float | None) -> None:
    layout = Layout("all on 4", servings(4), shared=True, target_part=part)
    held = layout.cache_tokens(GPU)
    caches = {role: held[role] * s.model.kv_bytes / s.cards for role, s in layout.servings.items()}
    rest = sum((2 << 30) + s.weights_a_card for s in layout.servings.values())
    assert rest + sum(caches.values()) == pytest.approx(GPU.memory)
    assert held["draft"] == pytest.approx(held["prm"])
    assert caches["target"] / sum(caches.values()) == pytest.approx(part) if part else held["target"] == held["draft"]


def test_a_model_that_does_not_fit_has_no_outcome() -> None:
    layout = Layout("one card", {"target": Serving(QWEN_72B, GPU)})
    assert simulate(layout, GPU, draw(100, Shape(), 6), 100, 10, 2, sequences=64) is None


def test_a_job_twice_as_large_costs_twice_as_much_and_copies_share_it() -> None:
    problems = draw(2000, Shape(), 7)
    one, two, copied = (
        simulate(Layout("", servings(4), shared=True, copies=copies), GPU, problems, job, 50, 3, sequences=64)
        for job, copies in ((10_000, 1), (20_000, 1), (20_000, 2))
    )
    assert one
    assert two
    assert copied
    assert two.wall == pytest.approx(2 * one.wall)
    assert copied.wall == pytest.approx(one.wall)
    assert copied.gpu_hours == pytest.approx(two.gpu_hours)
    assert copied.busy == pytest.approx(two.busy)
    assert sum(two.busy.values()) == pytest.approx(4 * two.wall)
    assert sum(two.share_busy(role) for role in ROLES) == pytest.approx(1)


def test_the_target_alone_writes_what_the_solutions_keep() -> None:
    problems, meter = draw(30, Shape(), 8), Meter()
    (job,) = target_alone(problems, 0, 30, meter)
    assert job.writes.sum() == problems.chosen.sum()
    assert meter.steps == problems.steps.sum()
    assert meter.tokens["target", "prefilled"] == 30 * problems.prompt


def test_contexts_in_flight_are_those_of_live_trajectories() -> None:
    problems = draw(200, Shape(), 12)
    lengths = [problems.prompt + np.cumsum(row) - row / 2 for row in problems.chosen]
    by_wave = np.zeros((200, 99))
    for row, tokens, steps in zip(by_wave, lengths, problems.steps, strict=True):
        row[:steps] = tokens[:steps]
    assert problems.mean_context == pytest.approx(by_wave.sum() / problems.steps.sum())
    assert problems.held(200, 1) == pytest.approx(by_wave.sum(axis=0).max())
    assert problems.held(200, 4) == pytest.approx(4 * by_wave.sum() / problems.steps.max())


def test_drawn_problems_have_the_means_that_were_asked_for() -> None:
    problems = draw(20_000, Shape(steps=12, tokens=50, kept=0.7), 9)
    assert problems.steps.mean() == pytest.approx(12, rel=0.02)
    assert problems.draft.sum() / problems.steps.sum() == pytest.approx(50, rel=0.02)
    assert problems.kept.sum() / problems.steps.sum() == pytest.approx(0.7, abs=0.01)
