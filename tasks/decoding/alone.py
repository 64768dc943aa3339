"""One model alone, step by step, with the same provenance as rsd."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def target(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The target writes every step."""
    return await write_on("target", trajectory, models)


async def draft(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The draft writes every step."""
    return await write_on("draft", trajectory, models)


async def writer(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The configured writer writes every step."""
    return await write_on(settings.writer, trajectory, models)


async def write_on(role: str, trajectory: Trajectory, models: Models) -> Step | Failure:
    """What `role` writes is accepted as it is."""
    [attempt] = await models.write(role, [trajectory])
    if isinstance(attempt, Failure):
        return attempt
    attempt.accepted = True
    return [attempt]
