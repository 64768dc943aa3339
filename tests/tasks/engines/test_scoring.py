"""Rewards made of what engines give: where that is none, so is the reward, and no other figure comes of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tasks.decoding.rewards import reward_of
from tasks.engines.spec import Scoring
from tasks.models.formats.confidence import confidence
from tasks.models.formats.judge import JudgeFormat

GOOD_OR_BAD = Scoring((0.0, 1.0), {}, (4, 5))
DIGITS = Scoring(JudgeFormat.class_values, {}, tuple(range(10)))
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "logs",
    [
        [NAN, NAN],
        [NAN, -1.0],
        [-1.0, NAN],
        [-INF, -INF],
        [-9999.0, -9999.0],
        [-INF, -9999.0],
        [INF, -1.0],
        [INF, INF],
        [-1.0, 0.5],
        [3.0e38, 3.0e38],
        [0.0, 0.0],  # of two tokens, one is not certain
        [-0.1, -0.2],
    ],
)
def test_what_is_no_logarithm_of_a_probability_makes_no_reward(logs: list[float]) -> None:
    """Nor do tokens none of which is likely at all: their shares of nothing would all be alike."""
    assert reward_of(GOOD_OR_BAD.reward_of_logs(logs)) is None
    assert reward_of(DIGITS.reward_of_logs(logs * 5)) is None


@pytest.mark.parametrize(
    ("logs", "reward"),
    [
        ([0.0, -INF], 0.0),
        ([-9999.0, -2.0], 1.0),
        ([-INF, -5000.0], 1.0),
        ([-800.0, -800.0], 0.5),
        ([-1e-7, -16.0], 1e-7),
        ([1e-6, -9999.0], 0.0),
    ],
)
def test_unlikely_tokens_have_their_shares(logs: list[float], reward: float) -> None:
    assert reward_of(GOOD_OR_BAD.reward_of_logs(logs)) == pytest.approx(reward, abs=1e-7)


LOGITS = [[-3.0, 0.7], [0.7, 0.7], [0.0, 0.0], [0.2, 0.5], [1.0, 1.0], [5e-324, 5e-324], [-0.5, 0.5]]
"""What a head gives whose activation is off. The second alone would look like a reward."""


@pytest.mark.parametrize("chances", [[NAN, NAN], [0.3, NAN], [NAN, 0.3], [INF, 0.0], [0.0, -INF], [0.0, 7.5], *LOGITS])
def test_what_is_no_probability_makes_no_reward(chances: list[float]) -> None:
    """Be it that of the class of value 0."""
    assert reward_of(GOOD_OR_BAD.reward(chances)) is None


@pytest.mark.parametrize("chances", [[0.25, 0.75], [0.0, 1.0], [0.252, 0.752], [1e-7, 1.0], [5e-324, 1.0]])
def test_probabilities_may_be_rounded(chances: list[float]) -> None:
    assert reward_of(GOOD_OR_BAD.reward(chances)) == pytest.approx(chances[1])


@pytest.mark.parametrize("kind", ["mean", "min"])
@pytest.mark.parametrize("odd", [NAN, INF, -INF, -9999.0, -1e308, 1e308, 800.0, 1.0, 0.01])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_step_with_a_token_of_no_probability_has_no_confidence(kind: Any, odd: float, place: int) -> None:
    """Wherever it stands among the others."""
    logs = [-0.5, -0.25]
    assert reward_of(confidence(kind, [*logs[:place], odd, *logs[place:]])) is None


def test_confidence_in_what_is_written() -> None:
    assert confidence("mean", [-0.5, -1.5]) == pytest.approx(math.exp(-1))
    assert confidence("min", [-0.5, -1.5]) == pytest.approx(math.exp(-1.5))
    assert confidence("min", [-0.0, 1e-7]) == confidence("mean", [1e-6]) == 1.0
    assert confidence("mean", [-5000.0]) == 0.0
