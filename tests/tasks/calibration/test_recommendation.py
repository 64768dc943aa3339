"""Which threshold is recommended, of figures that are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.calibration.directory import read_thresholds
from tasks.calibration.recommendation import Wish, choose, read_wish
from tasks.calibration.scale import one_sided, one_sided_run
from tasks.calibration.search import next_threshold
from tasks.errors import UserError


def rows(*values: tuple[float, float | None, float, float]) -> list[dict[str, Any]]:
    return [dict(zip(("threshold", "accuracy", "target_share", "flops"), v, strict=True)) for v in values]


SEEN = rows((0.5, 0.80, 0.1, 10.0), (0.7, 0.90, 0.25, 20.0), (0.8, 0.895, 0.28, 18.0), (0.9, 0.91, 0.6, 40.0))
UNGRADED = [row | {"accuracy": None} for row in SEEN]


@pytest.mark.parametrize(
    ("wish", "threshold"),
    [
        (Wish("target_share", 0.3), 0.8),
        (Wish("target_share", 0.28), 0.8),
        (Wish("target_share", 0.26), 0.7),
        (Wish("target_share", 0.05), None),
        (Wish("flops", 20), 0.7),
        (Wish("flops", 19), 0.8),
        (Wish("flops", 9), None),
        (Wish("tolerance", 0.0), 0.9),
        (Wish("tolerance", 0.01), 0.7),
        (Wish("tolerance", 0.02), 0.8),
        (Wish("tolerance", 1.0), 0.5),
    ],
)
def test_the_threshold_that_meets_a_wish(wish: Wish, threshold: float | None) -> None:
    recommended = choose(SEEN, wish)
    assert recommended.threshold == threshold
    if threshold is None:
        assert "at 0.5; try lower thresholds" in recommended.why


def test_below_the_lowest_threshold_none_is_proposed() -> None:
    recommended = choose(rows((0.0, 0.5, 0.0, 10.0), (0.5, 0.80, 0.1, 20.0)), Wish("flops", 9))
    assert recommended.threshold is None
    assert recommended.why.endswith("the least is 10 at 0, below which there is no threshold")


def test_without_answers_a_budget_is_used_up() -> None:
    assert choose(UNGRADED, Wish("flops", 30)).threshold == 0.7
    assert choose(UNGRADED, Wish("target_share", 0.3)).threshold == 0.8


def test_a_search_halves_what_was_seen_between() -> None:
    rewards = np.linspace(0, 1, 1001).astype(np.float32)
    measured = {0.5: 0.5, 0.9: 0.9}
    tried = []
    while (d := next_threshold(measured, rewards, 0.3)) is not None:
        measured[d] = d
        tried.append(d)
    assert tried[:2] == [0.25, 0.375]
    assert 0.285 <= max(d for d in measured if d <= 0.3) <= 0.3
    assert next_threshold({0.5: 0.29}, rewards, 0.3) is None
    assert next_threshold({0.5: 0.1, 0.6: 0.6}, np.array([0.2, 0.9], np.float32), 0.3) is None
    assert next_threshold({0.9: 0.0}, np.full(50, 0.99, np.float32), 0.3) == 0.99
    assert next_threshold({0.5: 0.9}, np.zeros(0, np.float32), 0.3) is None


def test_a_prm_of_another_scale_is_told() -> None:
    high = np.concatenate([np.full(990, 0.97), np.full(10, 0.2)]).astype(np.float32)
    told = one_sided(high, [0.5, 0.9])
    assert told
    assert "keeps" in told
    assert "--thresholds 0.97" in told
    assert one_sided(high, [0.5, 0.98]) is None
    low = one_sided(1 - high, [0.0, 0.9])
    assert low
    assert "rejects" in low
    assert one_sided(np.zeros(0, np.float32), [0.5]) is None
    assert "keeps nearly all" in (one_sided_run(1000, 990) or "")
    assert "rejects nearly all" in (one_sided_run(1000, 10) or "")
    assert one_sided_run(1000, 900) is None
    assert one_sided_run(0, 0) is None


def test_thresholds_as_they_are_listed() -> None:
    assert read_thresholds("0.9, 0.5,1") == [0.5, 0.9, 1.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.5,high", "'high' is not a number"),
        ("0.5,,0.6", "'' is not a number"),
        ("0.5,1.2", "1.2 is not between 0 and 1"),
        ("-0.1", "-0.1 is not between 0 and 1"),
        ("nan", "nan is not between 0 and 1"),
        ("0.5,0.50", "0.50 stands there twice"),
        ("0.5;0.6", "'0.5;0.6' is not a number"),
    ],
)
def test_thresholds_that_are_none(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_thresholds(text)


def test_wishes_as_they_are_given() -> None:
    assert read_wish(None, None, None) == Wish("tolerance", 0.01)
    assert read_wish(0.3, None, None) == Wish("target_share", 0.3)
    assert read_wish(None, 1e12, None) == Wish("flops", 1e12)
    for wrong in [(0.3, 1e12, None), (1.5, None, None), (None, -1.0, None), (None, float("inf"), None)]:
        with pytest.raises(UserError, match="--"):
            read_wish(*wrong)
    with pytest.raises(UserError, match=r"--tolerance: .* 0\.01"):
        read_wish(None, None, -0.5)
