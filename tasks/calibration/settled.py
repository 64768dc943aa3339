"""The threshold that an output has kept, where its configuration leaves it to the run."""

from __future__ import annotations

from dataclasses import replace

from tasks.calibration.directory import load
from tasks.planning.plan import Plan
from tasks.storage.store import Store


def settled(plan: Plan, store: Store) -> Plan:
    """The plan with the threshold that its output holds. If none is to be found, or none is found yet, the plan as it
    is."""
    return replace(plan, calibration=load(store)) if plan.config.decoding.auto else plan
