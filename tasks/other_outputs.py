"""Outputs that are not those of one run, but hold runs."""

from __future__ import annotations

from tasks.store import Store

OTHERS = {
    "evaluation.yaml": ("is an evaluation; name its runs, which stand in", "runs"),
    "calibration.json": ("is a calibration; name its runs, which stand in", "runs"),
    "rollouts.json": ("holds roll-outs; name the run that made them,", "run"),
}
"""The file that tells one, what to say of it, and where its runs are."""


def told_of(store: Store) -> str | None:
    """What this output is, and which runs to name instead; None where it is a run's, or nothing that is known. A run
    that found its own threshold has a calibration beside it."""
    if store.read_or_none("config.yaml") is not None:
        return None
    for mark, (what, runs) in OTHERS.items():
        if store.read_or_none(mark) is not None:
            return f"{store.path()}: {what} {store.path(runs)}"
    return None
