"""A trajectory's way, step by step, at its own pace."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding import DECODERS
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Trajectory


async def advance(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> bool:
    """Take a trajectory one step further; returns False, and sets its status, if it has ended. A request that fails
    ends the trajectory as failed.

    It may have steps already (from a checkpoint). Raises EngineError as `InferenceEngine.ask`.
    """
    await models.catch_up(trajectory.paths)
    trajectory.update_status(models.limits)
    if trajectory.status is not None:
        return False
    step = await DECODERS[settings.method].step(trajectory, models, settings)
    if isinstance(step, Failure):
        trajectory.fail(step.error)
    else:
        trajectory.take(step)
    return True
