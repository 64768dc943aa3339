"""GPU-hours: how long the devices of a run were held."""

from __future__ import annotations

import math

from schemas.config import Config
from tasks.engines.devices import placement
from tasks.errors import UserError
from tasks.report.places import ReportedRun


def check_price(price: float | None) -> None:
    """Raises UserError if a price is no amount of money."""
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise UserError(f"--price {price}: must be what an hour of one GPU costs, 0 or more")


def devices(config: Config) -> int:
    """GPUs that a run's roles take together, as configured; servers elsewhere count as one each, and a run without
    any GPU as one device."""
    own: set[int] = set()
    served = 0
    for role in config.engine_roles:
        engine = config.model(role).engine
        if engine.record.remote:
            endpoints = engine.arguments.get("endpoints")
            served += len(endpoints) if isinstance(endpoints, list) else 1
        elif engine.record.placed:
            own |= {device for replica in placement(role, engine.arguments, engine.replicas) for device in replica}
    return max(1, len(own) + served)


def held(run: ReportedRun) -> float:
    """Seconds from the first to the last sign of life, added up over a run's processes; their engines' start counts."""
    return sum(max(0.0, owner.renewed - owner.began) for owner in run.sessions)
