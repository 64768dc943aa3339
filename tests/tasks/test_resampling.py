"""Intervals of means over problems."""

from __future__ import annotations

import numpy as np
import pytest

from tasks import resampling
from tasks.resampling import RESAMPLES, interval, resampled_means


def test_the_interval_is_that_of_the_normal_approximation_where_that_holds() -> None:
    scores = np.repeat([1.0, 0.0], [700, 300])
    low, high = interval(resampled_means(scores, "a"))
    error = 1.96 * np.sqrt(0.7 * 0.3 / 1000)
    assert low == pytest.approx(0.7 - error, abs=0.004)
    assert high == pytest.approx(0.7 + error, abs=0.004)


def test_the_same_name_draws_the_same_problems() -> None:
    scores = np.random.default_rng(0).random(50)
    assert np.array_equal(resampled_means(scores, "a"), resampled_means(scores, "a"))
    assert not np.array_equal(resampled_means(scores, "a"), resampled_means(scores, "b"))
    # means are linear: differences of means are means of differences
    other = np.random.default_rng(1).random(50)
    paired = resampled_means(scores - other, "a")
    assert np.allclose(paired, resampled_means(scores, "a") - resampled_means(other, "a"))


def test_what_is_held_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random(30)
    whole = resampled_means(scores, "a")
    monkeypatch.setattr(resampling, "AT_ONCE", 100)
    assert np.array_equal(resampled_means(scores, "a"), whole)
    assert len(whole) == RESAMPLES


def test_one_problem_and_no_doubt() -> None:
    assert interval(resampled_means(np.ones(1), "a")) == (1.0, 1.0)
    assert interval(resampled_means(np.ones(10), "a")) == (1.0, 1.0)
