"""Drift, told once a process and figure as its shards are committed, and of the whole run at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flows import ui
from tasks.drift import judged, watched
from tasks.errors import UserError
from tasks.plan import Plan


async def look(plan: Plan, run_id: str, counts: Mapping[str, Any], told: set[str], warn: Callable[[str], None]) -> None:
    """Judge sums of records' counts, and tell of figures outside their bands that are not in `told`, which they join.

    UserError where the run is to stop.
    """
    outside = [figure for figure in judged(counts, plan) if figure.outside]
    if new := [figure for figure in outside if figure.name not in told]:
        told |= {figure.name for figure in new}
        for figure in new:
            warn(f"drift: {figure}")
        await ui.drifted(run_id, new)
    drift = watched(plan)
    if outside and drift and drift.stop:
        raise UserError(
            f"drift: {'; '.join(map(str, outside))}; what is committed is kept: calibrate anew for such problems, or "
            "go on with --set drift.stop=false"
        )
