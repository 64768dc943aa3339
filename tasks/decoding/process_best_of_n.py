"""Best of N, step by step: of several candidates for a step, the one with the best reward is kept."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.candidates import best, propose
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def step(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The writer proposes, the PRM chooses. If no candidate fits the PRM's window, the first is kept."""
    candidates = await propose(settings.writer, [trajectory] * settings.candidates, models)
    if not isinstance(candidates, Failure):
        best(candidates).accepted = True
    return candidates
