"""Best of N solutions: the PRM scores each step as it is written, and one finished sample is picked by these
rewards."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.candidates import propose
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def wave(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The writer writes and the PRM scores. picking.py makes the choice."""
    steps = await propose(settings.writer, [[t] for t in live], models)
    for step in steps:
        if not isinstance(step, Failure):
            step[0].accepted = True
    return steps
