"""Best of N solutions: the PRM scores each step as it is written, and the finished samples are chosen from by that."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.candidates import propose
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def wave(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The writer writes, the PRM takes note. The choice is made in picking.py."""
    steps = await propose(settings.writer, [[t] for t in live], models)
    for step in steps:
        if not isinstance(step, Failure):
            step[0].accepted = True
    return steps
