"""Best of N, step by step: of several candidates for a step, the one with the best reward is kept."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.candidates import best, propose
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def wave(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The writer proposes, the PRM chooses. If no candidate fits the PRM's window, the first is kept."""
    steps = await propose(settings.writer, [[t] * settings.candidates for t in live], models)
    for step in steps:
        if not isinstance(step, Failure):
            best(step).accepted = True
    return steps
