"""A cohort's waves, from its first step until every trajectory has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator

from schemas.config import DecodingConfig
from tasks.decoding import DECODERS
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Trajectory


async def decode(
    cohort: list[Trajectory], models: Models, settings: DecodingConfig, first_wave: int = 0
) -> AsyncIterator[list[Trajectory]]:
    """Run waves until all have ended; yields after each wave the trajectories that were in it, one step longer.

    Trajectories that already have steps (from a checkpoint) continue from there. A failure in a wave is set on its own
    trajectory and touches no other.
    """
    wave = DECODERS[settings.method].wave
    number = first_wave
    while live := ready(cohort, models):
        steps = await wave(live, models, settings)
        for trajectory, step in zip(live, steps, strict=True):
            if isinstance(step, Failure):
                trajectory.fail(step.error)
            else:
                trajectory.take(step, number)
        yield live
        number += 1


def ready(cohort: list[Trajectory], models: Models) -> list[Trajectory]:
    """The trajectories that have not ended, with their contexts caught up. Sets the status of those that have."""
    open_ = [t for t in cohort if t.status is None]
    models.catch_up([path for t in open_ for path in t.paths])
    for t in open_:
        t.settle(models.limits)
    return [t for t in open_ if t.status is None]
