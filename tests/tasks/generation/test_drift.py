"""Figures of committed shards beside the bands of a configuration or of a run's own calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.config import Config, DriftConfig
from tasks.configuration.identity import fingerprint
from tasks.errors import UserError
from tasks.generation.drift import described, judged, watched
from tasks.planning.plan import Plan

Job = Callable[..., Config]
COUNTS = {"solutions": 200, "steps": 1000, "target_steps": 300, "reward_sum": 560.0, "scored": 800}
BANDS = "drift={target_share: [0.2, 0.28], reward: [0.65, 0.75]}"
FOUND = {
    "recommendation": {"threshold": 0.5},
    "thresholds": [{"threshold": 0.5, "bands": {"target_share": [0.2, 0.28], "reward": None}}, {"threshold": 0.7}],
}


@pytest.fixture
def plan(configured: Job) -> Callable[..., Plan]:
    def make(*changes: str, calibration: dict[str, Any] | None = None) -> Plan:
        nothing: Any = SimpleNamespace()
        return Plan(configured(*changes), {}, None, nothing, nothing, calibration=calibration)

    return make


def test_what_left_its_band_is_outside(plan: Callable[..., Plan]) -> None:
    share, reward = judged(COUNTS, plan(BANDS))
    assert (share.name, share.value, share.outside) == ("target_share", 0.3, True)
    assert (reward.name, reward.value, reward.outside) == ("reward", 0.7, False)
    assert str(share) == (
        "the target wrote 30.00% of the steps of 200 problems, outside the calibration's 20.00% to 28.00%"
    )
    assert str(reward).startswith("the mean reward of 200 problems was 0.7000, within the calibration's 0.6500 to")
    assert [figure["outside"] for figure in described(COUNTS, plan(BANDS))["drift"]] == [True, False]


@pytest.mark.parametrize("value", [200, 280])
def test_a_bound_belongs_to_its_band(plan: Callable[..., Plan], value: int) -> None:
    assert not judged(COUNTS | {"target_steps": value}, plan(BANDS))[0].outside


@pytest.mark.parametrize("of_older", [float("nan"), float("inf"), float("-inf")])
def test_a_mean_that_is_none_is_not_judged(plan: Callable[..., Plan], of_older: float) -> None:
    """Older releases added up NaN, and made bands of it."""
    [share] = judged(COUNTS | {"reward_sum": of_older}, plan(BANDS))
    assert share.name == "target_share"
    bands = {"target_share": [0.2, 0.28], "reward": [of_older, of_older]}
    found = FOUND | {"thresholds": [{"threshold": 0.5, "bands": bands}]}
    assert [figure.name for figure in judged(COUNTS, plan(calibration=found))] == ["target_share"]


def test_few_problems_are_not_judged(plan: Callable[..., Plan]) -> None:
    assert judged(COUNTS | {"solutions": 199}, plan(BANDS)) == []
    assert judged(COUNTS, plan(BANDS, "decoding.samples=2", "decoding.temperature=1")) == []
    assert judged(COUNTS | {"solutions": 20}, plan(BANDS, "drift.problems=20"))
    assert judged({}, plan(BANDS, "drift.problems=1")) == []
    assert described(COUNTS | {"solutions": 199}, plan(BANDS)) == {"drift_not_judged": {"problems": 199, "needed": 200}}


def test_without_bands_nothing_is_watched(plan: Callable[..., Plan]) -> None:
    assert watched(plan()) is None
    assert judged(COUNTS, plan()) == []
    assert described(COUNTS, plan()) == {}


def test_what_was_not_seen_is_not_judged(plan: Callable[..., Plan]) -> None:
    counts = COUNTS | {"steps": 0, "scored": 0, "reward_sum": 0.0}
    assert judged(counts, plan(BANDS)) == []
    assert described(counts, plan(BANDS)) == {"drift_not_judged": {"problems": 200, "needed": 200}}


@pytest.mark.parametrize(
    ("changes", "useless"),
    [
        (["method=target"], "drift.target_share and drift.reward: decoding.method target"),
        (
            ["method=beam", "candidates=4", "writer=draft", "temperature=1"],
            ": drift.target_share: decoding.method beam",
        ),
    ],
)
def test_bands_that_a_method_cannot_have_are_refused(configured: Job, changes: list[str], useless: str) -> None:
    with pytest.raises(UserError, match=f"{useless} has no such figure; set it to null"):
        configured(BANDS, *(f"decoding.{change}" for change in changes))


def test_a_run_that_finds_its_threshold_has_bands_of_its_own(plan: Callable[..., Plan]) -> None:
    auto = "decoding.accept={threshold: auto, target_share: 0.3}"
    assert watched(plan(auto)) is None
    own = plan(auto, calibration=FOUND)
    assert watched(own) == DriftConfig(target_share=(0.2, 0.28))
    [share] = judged(COUNTS, own)
    assert share.outside
    assert watched(plan(auto, "drift.stop=true", calibration=FOUND)) == DriftConfig(target_share=(0.2, 0.28), stop=True)
    given = plan(auto, "drift.reward=[0.1, 0.2]", calibration=FOUND)
    assert watched(given) == DriftConfig(reward=(0.1, 0.2))
    older = FOUND | {"thresholds": [{"threshold": 0.5}]}
    assert watched(replace(own, calibration=older)) is None


def test_drift_is_no_part_of_what_makes_a_run(configured: Job) -> None:
    assert fingerprint(configured()) == fingerprint(configured(BANDS, "drift.stop=true"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("drift.stop=true", "drift: has no band: give target_share or reward"),
        ("drift.reward=[0.8, 0.7]", r"drift.reward: .*must be \[lowest, highest\]"),
        ("drift.target_share=[20, 30]", "drift.target_share"),
        ("drift.shares=[0.1, 0.2]", "drift.shares"),
    ],
)
def test_mistakes_name_their_field(configured: Job, change: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        configured(change)
