"""Messages about outputs that a command cannot use: those that hold runs, and runs without config.yaml."""

from __future__ import annotations

import re

from tasks.storage.store import Store

PAGE = "report/index.html"

EVALUATION = "evaluation.yaml"
HEADER = b"# Written by stepwave evaluate: the configuration that it was last run with, every default in it.\n"
"""Tells it from a configuration that a user wrote, which is not to be replaced."""

OTHERS = {
    "evaluation.yaml": ("is an evaluation; name its runs, which stand in", "runs"),
    "calibration.json": ("is a calibration; name its runs, which stand in", "runs"),
    "rollouts.json": ("holds roll-outs; name the run that made them,", "run"),
}
"""The file that tells one, what to say of it, and where its runs are."""


def is_evaluation(store: Store) -> bool:
    """True if an output holds an evaluation and no run. Raises StoreError where the store does not answer."""
    return store.read_or_none("config.yaml") is None and store.read_or_none(EVALUATION) is not None


def why_no_run(store: Store) -> str | None:
    """Why an output is not a run's, and which runs to name instead. None if it is a run's, or nothing that is known. (A
    run that found its own threshold has a calibration beside it.)"""
    if store.read_or_none("config.yaml") is not None:
        return None
    for mark, (what, runs) in OTHERS.items():
        if store.read_or_none(mark) is not None:
            return f"{store.path()}: {what} {store.path(runs)}"
    if holds_run(store.keys("")):
        return (
            f"{store.path()}: holds a run whose config.yaml is gone; put it back as it was (`stepwave generate` with "
            "its configuration says whether it is the same), or name another output"
        )
    return None


def holds_run(keys: list[str]) -> bool:
    """Are there files by which a run tells what is done of it?"""
    there = set(keys)
    return "checkpoints/run.json" in there or any(
        re.fullmatch(r"shards/\d+\.json", key) and key.replace("json", "parquet").replace("shards", "steps") in there
        for key in there
    )
