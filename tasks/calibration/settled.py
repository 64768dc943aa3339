"""The threshold that an output has kept, where its configuration leaves it to the run."""

from __future__ import annotations

from dataclasses import replace

from tasks.calibration.directory import CALIBRATION, load
from tasks.errors import UserError
from tasks.planning.plan import Plan
from tasks.storage.store import Store


def settled(plan: Plan, store: Store) -> Plan:
    """The plan with the threshold that an output has kept, where it is to be found and one is. Raises UserError where
    what it keeps is a calibration without one."""
    if not plan.config.decoding.auto:
        return plan
    kept = load(store)
    if kept and kept["recommendation"]["threshold"] is None:
        raise UserError(f"{store.path(CALIBRATION)}: recommends no threshold, as no run leaves it; remove it")
    return replace(plan, calibration=kept)
