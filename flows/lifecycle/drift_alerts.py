"""Drift: reported once for each process and figure as shards are committed, and for the whole run at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.prefect_api import ui
from tasks.errors import UserError
from tasks.generation.drift import judged, watched
from tasks.planning.plan import Plan

OF_RUN, OF_PART = "stepwave.drift", "stepwave.drift.part"
"""Events of a run, and of a flow run of its fleet."""
BEGINNING = "drift: "
"""Of the message of what ends on drift."""


@dataclass(frozen=True)
class Reported:
    """What this process has reported of a run's drift."""

    figures: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while drift is reported. A run that stops would otherwise cancel the report of another commit."""


async def report(
    plan: Plan,
    run_id: str,
    counts: Mapping[str, Any],
    reported: Reported,
    warn: Callable[[str], None],
    event: str = OF_RUN,
) -> None:
    """Judge sums of records' counts. Report figures outside their bands that are not in `reported`, and add them to it.

    Raises UserError if the run is to stop.
    """
    async with reported.lock:
        outside = [figure for figure in judged(counts, plan) if figure.outside]
        if new := [figure for figure in outside if figure.name not in reported.figures]:
            reported.figures.update(figure.name for figure in new)
            for figure in new:
                warn(f"{BEGINNING}{figure}")
            await ui.drifted(run_id, new, event)
        drift = watched(plan)
        if outside and drift and drift.stop:
            raise UserError(
                f"{BEGINNING}{'; '.join(map(str, outside))}; what is committed is kept: calibrate anew for such "
                "problems, or go on with --set drift.stop=false"
            )


def pass_on(run_id: str, error: UserError, reported: Reported) -> None:
    """Report the drift that a flow run of the fleet ended on. This process does it because a schedule starts this
    one."""
    if str(error).startswith(BEGINNING) and not reported.figures:
        ui.drift_event(OF_RUN, run_id, {"told": str(error)})
