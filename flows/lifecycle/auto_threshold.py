"""`threshold: auto`: a run finds its threshold on its first problems, once for all its processes."""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import replace
from typing import Any

import numpy as np

from flows.lifecycle.threshold_runs import Thresholds
from flows.lifecycle.threshold_search import GRID, ROUNDS, describe, search
from flows.terminal.progress import current
from schemas.config import Threshold
from tasks.calibration.directory import CALIBRATION, first_problems, load, sealed, thresholds_there
from tasks.calibration.recommendation import Wish
from tasks.calibration.settled import settled
from tasks.decoding.sweep import Memory
from tasks.generation.pipeline import PipelineGroup
from tasks.output.directory import RunDirectory
from tasks.planning.plan import Plan
from tasks.problems.survey import USABLE
from tasks.storage.store import Say, Store
from tasks.telemetry.metering import Meters

PROBLEMS = 200
"""Number of usable problems, the input's first, on which the threshold is found."""
PLACE = "checkpoints/calibration"
"""Folder of the output with the runs that find it. It is deleted when the run is complete."""


async def find_threshold(
    plan: Plan, output: RunDirectory, engines: dict[str, Any], meters: Meters, warn: Say
) -> tuple[Plan, PipelineGroup]:
    """The plan with its threshold: the one in the output if a process has found it, else one that is found now and
    written there. Also the attempts at these problems, so that the run itself does not make them again."""
    few = _first(plan)
    runs = Thresholds(few, output.store.path(PLACE), _opened(engines), meters, warn)
    if await to_thread(load, output.store) is None:
        accept = plan.config.decoding.accept
        assert isinstance(accept, Threshold)
        assert accept.target_share is not None
        wish = Wish("target_share", accept.target_share)
        current().say(f"finding the threshold for {wish}, on the first {few.survey.usable:,} problems")
        await runs.run(list(GRID))
        await search(runs, wish.kind, wish.value, ROUNDS, current().say)
        report = await to_thread(describe, runs, wish, few, 0, runs.place)
        await to_thread(_keep, output.store, report, warn)
    plan = await to_thread(settled, plan, output.store)
    runs.memory = Memory(runs.memory.alike)  # what failed is tried again, whichever process found the threshold
    for threshold in await to_thread(thresholds_there, runs.store):
        await to_thread(runs.recall, threshold)
    runs.memory.close()
    current().say(said(plan.calibration or {}))
    return plan, PipelineGroup(plan, 1, runs.memory)


def said(report: dict[str, Any]) -> str:
    """What was chosen, in a line."""
    threshold = report["recommendation"]["threshold"]
    row = next(row for row in report["thresholds"] if row["threshold"] == threshold)
    if row["target_share"] is None:
        return f"threshold {threshold:g}: none of {report['problems']:,} problems had a step that the PRM scored"
    return (
        f"threshold {threshold:g}: on {report['problems']:,} problems the target wrote {row['target_share']:.1%} of "
        f"the steps ({row['target_share_low']:.1%} to {row['target_share_high']:.1%}); at most "
        f"{report['wish']['value']:.1%} were asked for"
    )


def _keep(store: Store, report: dict[str, Any], warn: Say) -> None:
    """Write the threshold unless another process has. If no threshold met the wish, the one with the least share is
    taken."""
    if report["recommendation"]["threshold"] is None:
        least = min(report["thresholds"], key=lambda row: row["target_share"] or 0.0)
        warn(f"{report['recommendation']['why']}; the run takes {least['threshold']:g}")
        report["recommendation"]["threshold"] = least["threshold"]
    if report["warning"]:
        warn(report["warning"])
    if not store.create(CALIBRATION, sealed(report)) and load(store) is None:
        store.write(CALIBRATION, sealed(report))  # what is there is damaged


def _first(plan: Plan) -> Plan:
    """The plan of the first problems. Its runs have no metrics of their own: the run has some."""
    rows = int(np.flatnonzero(plan.survey.verdicts == USABLE)[:PROBLEMS][-1]) + 1
    config = first_problems(plan.config, rows)
    config = config.model_copy(update={"run": config.run.model_copy(update={"metrics_port": None})})
    return replace(plan, config=config, survey=plan.survey.first(rows))


def _opened(engines: dict[str, Any]) -> Any:
    async def opened() -> dict[str, Any]:
        return engines

    return opened
