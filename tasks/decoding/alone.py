"""One model alone, step by step, with the same provenance as rsd."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def target(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The target writes every step."""
    return await write_on("target", live, models)


async def draft(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The draft writes every step."""
    return await write_on("draft", live, models)


async def writer(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The configured writer writes every step."""
    return await write_on(settings.writer, live, models)


async def write_on(role: str, live: list[Trajectory], models: Models) -> list[Step | Failure]:
    """What `role` writes is accepted as it is."""
    steps: list[Step | Failure] = []
    for attempt in await models.write(role, live):
        if isinstance(attempt, Failure):
            steps.append(attempt)
        else:
            attempt.accepted = True
            steps.append([attempt])
    return steps
