"""Seeds and coins: functions of what they are for, and of nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decoding.seeds import coin, derive

from .worlds import examples

places = st.tuples(
    st.integers(0, 2**70),
    st.text("a1\x1f:|", max_size=6) | st.text(max_size=6),
    st.integers(0, 200),
    st.integers(0, 200),
    st.sampled_from(["draft", "target", "accept"]),
    st.integers(0, 20),
)


@examples(300)
@given(places, places)
def test_one_seed_for_each_place(a: tuple, b: tuple) -> None:
    assert (derive(*a) == derive(*b)) == (a == b)


@examples(200)
@given(places)
def test_seeds_fit_an_int64_column(place: tuple) -> None:
    assert 0 <= derive(*place) < 2**63


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "a", 11, 1, "draft"), (0, "a1", 1, 1, "draft")),
        ((0, "a", 1, 11, "draft"), (0, "a", 11, 1, "draft")),
        ((1, "a", 11, 1, "draft"), (11, "a", 1, 1, "draft")),
        ((0, "1", 1, 0, "draft"), (0, "", 11, 0, "draft")),
        ((0, "a", 0, 0, "draft"), (0, "a", 0, 0, "target")),
        ((0, "x\x1f0", 0, 0, "draft"), (0, "x", 0, 0, "draft")),
        ((0, "\x1fdraft\x1f", 0, 0, "draft"), (0, "", 0, 0, "draft")),
    ],
)
def test_places_that_are_written_alike_differ(one: tuple, other: tuple) -> None:
    assert derive(*one) != derive(*other)


def test_no_two_places_of_a_run_share_a_seed() -> None:
    seeds = {
        derive(7, f"p{problem}", sample, step, role)
        for problem in range(20)
        for sample in range(5)
        for step in range(20)
        for role in ("draft", "target", "accept")
    }
    assert len(seeds) == 20 * 5 * 20 * 3


def test_the_first_candidate_has_the_seed_of_one_alone() -> None:
    assert derive(3, "p", 1, 2, "draft", 0) == derive(3, "p", 1, 2, "draft")
    assert len({derive(3, "p", 1, 2, "draft", candidate) for candidate in range(256)}) == 256


def test_seeds_are_the_same_in_every_process() -> None:
    """Unlike hash(): a resumed run must draw what the first would have."""
    code = "from tasks.decoding.seeds import coin, derive; print(derive(3, 'é', 1, 2, 'draft'), coin(3, 'é', 1, 2))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    ).stdout.split()
    assert printed == [str(derive(3, "é", 1, 2, "draft")), str(coin(3, "é", 1, 2))]


@examples(100)
@given(st.integers(0, 2**70), st.text(max_size=6), st.integers(0, 200), st.integers(0, 200))
def test_a_coin_is_in_the_half_open_unit_interval_and_always_falls_alike(
    seed: int, problem_id: str, sample: int, step: int
) -> None:
    assert 0.0 <= coin(seed, problem_id, sample, step) < 1.0
    assert coin(seed, problem_id, sample, step) == coin(seed, problem_id, sample, step)


def test_coins_are_uniform_over_steps() -> None:
    """Chi-square over 20 bins of 10,000 coins: 19 degrees of freedom, 43.8 is passed once in 1,000."""
    coins = [coin(0, f"p{i % 100}", i // 5000, i // 100 % 50) for i in range(10_000)]
    assert len(set(coins)) == len(coins)
    bins = [0] * 20
    for value in coins:
        bins[int(value * 20)] += 1
    assert sum((n - 500) ** 2 / 500 for n in bins) < 43.8


@pytest.mark.parametrize("changed", ["seed", "problem", "sample", "step"])
def test_a_coin_says_nothing_of_its_neighbour(changed: str) -> None:
    """Correlation of 4,000 pairs that differ in one argument: its standard deviation is 0.016."""
    pairs = []
    for i in range(4000):
        place = {"seed": i % 10, "problem": i // 10 % 20, "sample": i // 200 % 4, "step": 2 * (i // 800)}
        step_on = {"seed": 100, "problem": 100, "sample": 100, "step": 1}[changed]
        moved = place | {changed: place[changed] + step_on}
        pairs.append([coin(p["seed"], str(p["problem"]), p["sample"], p["step"]) - 0.5 for p in (place, moved)])
    covariance = sum(a * b for a, b in pairs) / len(pairs)
    assert abs(covariance * 12) < 0.08
