"""Checks whether the PRM's rewards fit the thresholds. Thresholds for one PRM mean nothing for another."""

from __future__ import annotations

import numpy as np

NEARLY_ALL = 0.98


def one_sided(rewards: np.ndarray, thresholds: list[float]) -> str | None:
    """A warning if nearly all of the draft's rewards lie on the same side of every threshold; it names thresholds that
    would divide them. `rewards`: float32, of all attempts of the draft that were seen."""
    tried = [d for d in thresholds if d > 0]
    if not len(rewards) or not tried:
        return None
    kept = [float(np.mean(rewards >= np.float32(d))) for d in tried]
    if min(kept) > NEARLY_ALL:
        does = "keeps"
    elif max(kept) < 1 - NEARLY_ALL:
        does = "rejects"
    else:
        return None
    quantiles = sorted({float(f"{q:.4g}") for q in np.quantile(rewards, [0.1, 0.25, 0.5, 0.75, 0.9])})
    advice = ",".join(f"{q:g}" for q in quantiles)
    return (
        f"the PRM {does} more than {NEARLY_ALL:.0%} of the draft's steps at every threshold tried; thresholds do not "
        f"carry over from one PRM to another. Quantiles of this one's rewards: --thresholds {advice}"
    )


def one_sided_run(steps: int, kept: int) -> str | None:
    """The same of a run that had one threshold: `kept` of its steps are the draft's."""
    if not steps or 1 - NEARLY_ALL <= kept / steps <= NEARLY_ALL:
        return None
    does = "keeps" if 2 * kept > steps else "rejects"
    return f"{does} nearly all of the draft's steps at this threshold: stepwave calibrate finds one that fits"
