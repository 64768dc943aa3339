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

WHOLE, PART = "stepwave.drift", "stepwave.drift.part"
"""Events of a run, and of a flow run of its fleet."""
BEGINNING = "drift: "
"""Of the message of what ends on drift."""


@dataclass(frozen=True)
class Told:
    """What this process has told of a run's drift."""

    figures: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while drift is reported. A run that stops would otherwise cancel the report of another commit."""


async def look(
    plan: Plan, run_id: str, counts: Mapping[str, Any], told: Told, warn: Callable[[str], None], event: str = WHOLE
) -> None:
    """Judge sums of records' counts. Report figures outside their bands that are not in `told`, and add them to it.

    Raises UserError if the run is to stop.
    """
    async with told.lock:
        outside = [figure for figure in judged(counts, plan) if figure.outside]
        if new := [figure for figure in outside if figure.name not in told.figures]:
            told.figures.update(figure.name for figure in new)
            for figure in new:
                warn(f"{BEGINNING}{figure}")
            await ui.drifted(run_id, new, event)
        drift = watched(plan)
        if outside and drift and drift.stop:
            raise UserError(
                f"{BEGINNING}{'; '.join(map(str, outside))}; what is committed is kept: calibrate anew for such "
                "problems, or go on with --set drift.stop=false"
            )


def pass_on(run_id: str, error: UserError, told: Told) -> None:
    """Report the drift that a flow run of the fleet ended on. This process does it because a schedule starts this
    one."""
    if str(error).startswith(BEGINNING) and not told.figures:
        ui.drift_event(WHOLE, run_id, {"told": str(error)})
