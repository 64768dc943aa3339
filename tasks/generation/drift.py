"""Compares a run's figures with the bands of its calibration. flows/lifecycle/drift_alerts.py reports what it finds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from schemas.config import DriftConfig
from tasks.planning.threshold import bands

if TYPE_CHECKING:  # a summary of figures needs no planner
    from tasks.planning.plan import Plan


@dataclass(frozen=True)
class Figure:
    """A figure over a number of problems, and the band in which it should stay."""

    name: str
    """As in the configuration's section `drift`."""
    value: float
    low: float
    high: float
    problems: int

    @property
    def outside(self) -> bool:
        """True if the value is outside its band."""
        return not self.low <= self.value <= self.high

    def __str__(self) -> str:
        where = "outside" if self.outside else "within"
        if self.name == "target_share":
            share = f"the target wrote {self.value:.2%} of the steps of {self.problems:,} problems"
            return f"{share}, {where} the calibration's {self.low:.2%} to {self.high:.2%}"
        mean = f"the mean reward of {self.problems:,} problems was {self.value:.4f}"
        return f"{mean}, {where} the calibration's {self.low:.4f} to {self.high:.4f}"


def watched(plan: Plan) -> DriftConfig | None:
    """The bands of a run: those given, else those of its own calibration; None where there are none."""
    given = plan.config.drift
    if given and (given.target_share or given.reward):
        return given
    found = bands(plan.calibration) if plan.calibration else {}
    return (given or DriftConfig()).model_copy(update=found) if found else None


def figures(counts: Mapping[str, Any]) -> dict[str, float]:
    """The watched figures, from the counts of shards' records, without figures that are not known yet, or not any more:
    older releases added NaN to the rewards' sum."""
    parts = {"target_share": ("target_steps", "steps"), "reward": ("reward_sum", "scored")}
    seen = {name: counts[above] / counts[below] for name, (above, below) in parts.items() if counts.get(below)}
    return {name: figure for name, figure in seen.items() if math.isfinite(figure)}


def judged(counts: Mapping[str, Any], plan: Plan) -> list[Figure]:
    """The watched figures of what was committed; none before there are enough problems."""
    drift, problems = watched(plan), _problems(counts, plan)
    if drift is None or problems < drift.problems:
        return []
    seen = figures(counts)
    given = {"target_share": drift.target_share, "reward": drift.reward}
    return [Figure(name, seen[name], *band, problems) for name, band in given.items() if band and name in seen]


def described(counts: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The same for the manifest. If there are bands and nothing was judged, it has the number of problems and the
    number that is needed."""
    if (drift := watched(plan)) is None:
        return {}
    if found := judged(counts, plan):
        return {"drift": [asdict(figure) | {"outside": figure.outside} for figure in found]}
    return {"drift_not_judged": {"problems": _problems(counts, plan), "needed": drift.problems}}


def _problems(counts: Mapping[str, Any], plan: Plan) -> int:
    return int(counts.get("solutions", 0) // plan.config.decoding.samples)
