"""Drift, told once a process and figure as its shards are committed, and of the whole run at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flows import ui
from tasks.drift import judged, watched
from tasks.errors import UserError
from tasks.plan import Plan


class Drift:
    """What this process has told of one run."""

    def __init__(self, run_id: str, warn: Callable[[str], None]) -> None:
        self.run_id, self.warn = run_id, warn
        self.told: set[str] = set()

    async def look(self, plan: Plan, counts: Mapping[str, Any]) -> None:
        """Judge sums of records' counts. UserError where the run is to stop."""
        outside = [figure for figure in judged(counts, plan) if figure.outside]
        if not outside:
            return
        if new := [figure for figure in outside if figure.name not in self.told]:
            self.told |= {figure.name for figure in new}
            for figure in new:
                self.warn(f"drift: {figure}")
            await ui.drifted(self.run_id, new)
        drift = watched(plan)
        if drift and drift.stop:
            raise UserError(
                f"drift: {'; '.join(map(str, outside))}; what is committed is kept: calibrate anew for such problems, "
                "or go on with --set drift.stop=false"
            )
