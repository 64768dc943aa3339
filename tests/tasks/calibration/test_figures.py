"""Figures of runs' tables, and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.calibration.figures import SUMS, Seen, behind, figures, read


def seen(correct: list[float], steps: list[float], target: list[float], with_reference: float = 1.0) -> Seen:
    sums = np.zeros((len(correct), len(SUMS)))
    for name, values in {
        "problems": 1.0,
        "with_reference": with_reference,
        "correct": correct,
        "steps": steps,
        "target_steps": target,
    }.items():
        sums[:, SUMS.index(name)] = values
    return Seen(sums, np.zeros(0, np.float32))


def test_tables_are_summed_up_by_problem() -> None:
    columns: dict[str, Any] = {
        "problem_id": ["a", "a", "b"],
        "reference": ["1", "1", None],
        "correct": [True, None, None],
        "verdict": ["correct", "timeout", None],
        "steps": [2, 3, 4],
        "target_steps": [1, 0, 4],
        "flops": [1.0, 2.0, 4.0],
        "draft_tokens": [1, 2, 3],
        "target_tokens": [4, 5, 6],
        "prm_tokens": [7, 8, 9],
    }
    rewards, thresholds = pa.array([0.5, 0.25, None], pa.float32()), pa.array([0.7, None, None], pa.float32())
    steps = pa.table({"problem_id": ["a", "a", "b"], "reward": rewards, "threshold": thresholds})
    found = read(pa.table(columns), steps)
    assert found.sums.tolist() == [[1, 2, 1, 5, 1, 3, 3, 9, 15, 0.75, 2], [1, 0, 0, 4, 4, 4, 3, 6, 9, 0, 0]]
    assert found.rewards.tolist() == [0.5]


def test_shares_are_of_all_steps_and_intervals_hold_them() -> None:
    draw = np.random.default_rng(3)
    steps = draw.integers(1, 9, 400).astype(float)
    target = draw.binomial(steps.astype(int), 0.3).astype(float)
    correct = draw.binomial(1, 0.8, 400).astype(float)
    (row,) = figures({0.7: seen(list(correct), list(steps), list(target))})
    assert row["threshold"] == 0.7
    assert row["target_share"] == target.sum() / steps.sum()
    assert row["accuracy"] == correct.mean()
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert row["accuracy_high"] - row["accuracy_low"] == pytest.approx(2 * half, rel=0.2)
    assert row["target_share_low"] < row["target_share"] < row["target_share_high"]
    assert row == figures({0.7: seen(list(correct), list(steps), list(target))})[0]


def test_what_means_nothing_is_none() -> None:
    (row,) = figures({0.5: seen([0.0], [0.0], [0.0], with_reference=0.0)})
    assert row["accuracy"] is row["accuracy_low"] is row["target_share"] is None
    assert row["flops"] == 0.0


RIGHT = [1.0] * 180 + [0.0] * 20


@pytest.mark.parametrize(
    ("cheap", "less"),
    [
        (RIGHT, None),
        ([1.0] * 179 + [0.0] * 21, None),  # one problem less may be chance
        ([1.0] * 160 + [0.0] * 40, 0.1),
        ([0.0] * 200, 0.9),
        ([0.0] * 3 + [1.0] * 177 + [1.0] * 3 + [0.0] * 17, None),  # others, as many
        ([1.0] * 190 + [0.0] * 10, None),  # better
    ],
)
def test_what_a_threshold_costs_is_told_beyond_chance(cheap: list[float], less: float | None) -> None:
    thresholds = {0.2: seen(cheap, [1.0] * 200, [0.0] * 200), 0.8: seen(RIGHT, [1.0] * 200, [1.0] * 200)}
    found = behind(thresholds, 0.2)
    if less is None:
        assert found is None
        return
    assert found is not None
    assert found["threshold"] == 0.8
    assert found["less"] == pytest.approx(less)
    assert 0 < found["less_low"] <= found["less"] <= found["less_high"]


def test_problems_are_compared_with_themselves() -> None:
    """Apart, the two intervals overlap."""
    draw = np.random.default_rng(5)
    better = draw.binomial(1, 0.5, 200).astype(float)
    worse = better.copy()
    worse[np.flatnonzero(better)[:8]] = 0.0
    assert behind(
        {0.2: seen(list(worse), [1.0] * 200, [0.0] * 200), 0.8: seen(list(better), [1.0] * 200, [0.0] * 200)}, 0.2
    )


@pytest.mark.parametrize("graded", [0.0])
def test_without_answers_nothing_is_known_to_be_lost(graded: float) -> None:
    nothing = seen([0.0] * 9, [1.0] * 9, [0.0] * 9, graded)
    assert behind({0.2: nothing, 0.8: nothing}, 0.2) is None
