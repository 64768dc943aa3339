"""Acceptance rules: Table 1 of the RSD paper."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import AcceptConfig, Clip, Constant, DecodingConfig, Logistic, Sigmoidal, Threshold
from tasks.decoding.acceptance import RULES, probability
from tasks.decoding.rsd import judge
from tasks.decoding.seeds import coin
from tasks.decoding.trajectory import Attempt, Trajectory

from .worlds import examples

rewards = st.floats(0, 1, width=32)
rules = st.one_of(
    st.builds(Constant, rule=st.just("constant"), probability=st.floats(0, 1)),
    st.builds(Threshold, threshold=st.floats(0, 1)),
    st.just(Clip(rule="clip")),
    st.just(Sigmoidal(rule="sigmoidal")),
    st.builds(Logistic, rule=st.just("logistic"), threshold=st.floats(0, 1), alpha=st.floats(1e-3, 1e6)),
)


def test_every_rule_of_the_configuration_has_a_formula() -> None:
    configured = get_args(get_args(AcceptConfig)[0])
    assert set(RULES) == set(configured)


@examples(100)
@given(rewards, st.floats(0, 1))
def test_formulas(reward: float, parameter: float) -> None:
    assert probability(reward, Constant(rule="constant", probability=parameter)) == parameter
    assert probability(reward, Clip(rule="clip")) == reward
    assert probability(reward, Sigmoidal(rule="sigmoidal")) == pytest.approx(reward / (1 + reward), rel=1e-12)
    logistic = Logistic(rule="logistic", threshold=parameter, alpha=20.0)
    assert probability(reward, logistic) == pytest.approx(1 / (1 + math.exp(-20 * (reward - parameter))), rel=1e-9)
    above = np.float32(reward) >= np.float32(parameter)
    assert probability(reward, Threshold(threshold=parameter)) == (1.0 if above else 0.0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Constant(rule="constant", probability=0.3), 0.3),
        (Threshold(threshold=0.5), 1.0),
        (Threshold(threshold=0.6), 0.0),
        (Clip(rule="clip"), 0.5),
        (Sigmoidal(rule="sigmoidal"), 1 / 3),
        (Logistic(rule="logistic", threshold=0.5, alpha=20.0), 0.5),
        (Logistic(rule="logistic", threshold=0.4, alpha=10.0), 1 / (1 + math.exp(-1))),
    ],
)
def test_by_hand_at_one_half(rule: AcceptConfig, expected: float) -> None:
    assert probability(0.5, rule) == pytest.approx(expected, rel=1e-12)


@examples(200)
@given(rules, rewards, rewards)
def test_probabilities_that_grow_with_the_reward(rule: AcceptConfig, one: float, other: float) -> None:
    low, high = sorted([one, other])
    p, q = probability(low, rule), probability(high, rule)
    assert 0.0 <= p <= 1.0
    assert 0.0 <= q <= 1.0
    assert p <= q + 1e-12  # rounding


@examples(50)
@given(rewards, st.floats(0, 1), st.floats(1e-3, 1.7e308))
def test_logistic_does_not_overflow(reward: float, delta: float, alpha: float) -> None:
    assert 0.0 <= probability(reward, Logistic(rule="logistic", threshold=delta, alpha=alpha)) <= 1.0


@pytest.mark.parametrize("delta", [k / 100 for k in range(101)])
def test_threshold_accepts_its_own_value_in_float32(delta: float) -> None:
    """Rewards are float32: float32(0.7) is a little less than the double 0.7, and must still reach a δ of 0.7."""
    reward = np.float32(delta)
    rule = Threshold(threshold=delta)
    assert probability(float(reward), rule) == 1.0
    if reward > 0:
        assert probability(float(np.nextafter(reward, np.float32(-1), dtype=np.float32)), rule) == 0.0


def test_the_default_rule_is_the_papers_threshold() -> None:
    assert DecodingConfig().accept == Threshold(threshold=0.7)
    assert DecodingConfig.model_validate({"accept": {"threshold": 0.2}}).accept == Threshold(threshold=0.2)


def _judged(rule: AcceptConfig, reward: float | None, problem_id: str = "p") -> Attempt:
    draft = Attempt(0, 0, "draft", "a", [1], "step", 0, reward=reward)
    judge(draft, Trajectory(problem_id, 0, {}), 0, DecodingConfig(accept=rule))
    return draft


@examples(100)
@given(rules, rewards, st.text(max_size=5))
def test_a_step_is_accepted_where_the_coin_is_below_the_probability(
    rule: AcceptConfig, reward: float, problem_id: str
) -> None:
    draft = _judged(rule, reward, problem_id)
    assert draft.probability == probability(reward, rule)
    assert draft.accepted == (coin(0, problem_id, 0, 0) < probability(reward, rule))
    assert draft.threshold == getattr(rule, "threshold", None)


def test_a_coin_that_equals_the_probability_rejects() -> None:
    """Coins are in [0, 1): only so is a step of probability 0 never kept."""
    assert not _judged(Constant(rule="constant", probability=coin(0, "p", 0, 0)), 0.5).accepted


@pytest.mark.parametrize(("certain", "accepted"), [(1.0, True), (0.0, False)])
def test_certain_rules_leave_nothing_to_the_coin(certain: float, accepted: bool) -> None:
    rule = Constant(rule="constant", probability=certain)
    assert all(_judged(rule, 0.5, str(i)).accepted is accepted for i in range(500))


def test_a_rules_probability_is_the_share_of_steps_it_keeps() -> None:
    rule = Constant(rule="constant", probability=0.3)
    kept = sum(_judged(rule, 0.5, str(i)).accepted for i in range(4000))
    assert kept / 4000 == pytest.approx(0.3, abs=0.03)  # four standard deviations
