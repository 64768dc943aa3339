"""The search for a threshold, and what is said of it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from flows.lifecycle.threshold_runs import Thresholds
from tasks.calibration.directory import thresholds_there, tokens
from tasks.calibration.figures import behind, figures
from tasks.calibration.recommendation import Wish, choose
from tasks.calibration.scale import one_sided
from tasks.calibration.search import next_threshold
from tasks.output.totals import add_computed, add_up
from tasks.planning.plan import Plan
from tasks.storage.store import Say

GRID = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds that are tried first, where none are given."""
ROUNDS = 4
"""Number of further thresholds that are tried, one by one, for a share or a budget."""


async def search(runs: Thresholds, kind: str, most: float, rounds: int, say: Say) -> None:
    """Try more thresholds until one comes close to a share or a budget from below."""
    for _ in range(rounds):
        measured = {row["threshold"]: row[kind] for row in figures(runs.seen) if row[kind] is not None}
        threshold = next_threshold(measured, runs.rewards(), most)
        if threshold is None:
            return
        say(f"trying threshold {threshold:g}")
        await runs.run([threshold])


def describe(runs: Thresholds, wish: Wish, plan: Plan, reused: int, out: str) -> dict[str, Any]:
    """What was found, for calibration.json."""
    rows = figures(runs.seen)
    manifests = [runs.manifests[row["threshold"]] for row in rows]
    for row, manifest in zip(rows, manifests, strict=True):
        row["failed"] = manifest["counts"]["failed"]
    recommended = choose(rows, wish)
    computed: dict[str, dict[str, int]] = {}
    apart: list[dict[str, Any]] = []
    for threshold in thresholds_there(runs.store):  # also those of another time, whose attempts served these
        records = runs.directory(threshold).records().good
        for record in records.values():
            add_computed(computed, record["computed"])
        apart.append(add_up(records)[0])
    return {
        "wish": asdict(wish),
        "input": plan.config.input.path,
        "problems": plan.survey.usable,
        "samples": plan.config.decoding.samples,
        "with_reference": manifests[0]["counts"]["with_reference"],
        "thresholds": rows,
        "tokens": tokens(computed, apart) | {"reused_attempts": reused},
        "computed": computed,
        "recommendation": {"threshold": recommended.threshold, "why": recommended.why},
        "costs": None if recommended.threshold is None else behind(runs.seen, recommended.threshold),
        "warning": one_sided(runs.rewards(), [row["threshold"] for row in rows]),
        "failed": sum(row["failed"] for row in rows),
        "output": out,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    }
