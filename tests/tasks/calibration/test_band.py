"""Bands of a calibration: runs like it stay inside, others do not. Everything is drawn with a seed."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.calibration.band import band, judged_from

CALIBRATED, RUN, COMMIT = 500, 2000, 50


def problems(draw: np.random.Generator, runs: int, count: int, hardness: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps from the target and steps in all, float64 [runs, count]. Hard problems have more of both, so that steps of
    a problem are alike."""
    hard = draw.beta(2 * hardness, 2 * (1 - hardness), (runs, count))
    steps = 1 + draw.poisson(3 + 6 * hard)
    return draw.binomial(steps, hard).astype(float), steps.astype(float)


def alarms(draw: np.random.Generator, calibrated: float, run: float, runs: int = 1000) -> float:
    """Share of runs that leave, at any commit, the band of a calibration of their own."""
    above, below = problems(draw, runs, CALIBRATED, calibrated)
    bands = np.array([band(y, x) for y, x in zip(above, below, strict=True)])
    above, below = (sums.cumsum(axis=1) for sums in problems(draw, runs, RUN, run))
    seen = (above / below)[:, judged_from(CALIBRATED) - 1 :: COMMIT]
    return float(np.mean(((seen < bands[:, :1]) | (seen > bands[:, 1:])).any(axis=1)))


@pytest.mark.parametrize(("hardness", "most"), [(0.03, 0.01), (0.25, 0.002), (0.6, 0.002)])
def test_runs_of_the_same_problems_are_not_told_of(hardness: float, most: float) -> None:
    assert alarms(np.random.default_rng(1), hardness, hardness) <= most


@pytest.mark.parametrize(("calibrated", "run"), [(0.25, 0.37), (0.25, 0.14), (0.03, 0.1)])
def test_runs_of_other_problems_are(calibrated: float, run: float) -> None:
    assert alarms(np.random.default_rng(2), calibrated, run, 300) > 0.98


def test_more_problems_make_it_narrower() -> None:
    above, below = problems(np.random.default_rng(3), 1, 4000, 0.3)
    few, many = (band(above[0, :n], below[0, :n]) for n in (100, 4000))
    assert few is not None
    assert many is not None
    assert few[0] < many[0] < above.sum() / below.sum() < many[1] < few[1]


def test_what_never_varied_may_vary_a_little() -> None:
    found = band(np.zeros(100), np.full(100, 5.0))
    assert found is not None
    assert found[0] == 0
    assert 0.005 < found[1] < 0.1


def test_nothing_is_known_of_nothing() -> None:
    assert band(np.zeros(3), np.zeros(3)) is None
    assert band(np.zeros(0), np.zeros(0)) is None


def test_a_band_stays_within_the_scale() -> None:
    assert band(np.array([1.0, 0.0]), np.ones(2)) == (0, 1)
