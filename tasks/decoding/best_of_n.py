"""Best of N solutions: the PRM scores each step as it is written, and one finished sample is picked by these
rewards."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.candidates import propose
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory


async def step(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The writer writes and the PRM scores. picking.py makes the choice."""
    written = await propose(settings.writer, [trajectory], models)
    if not isinstance(written, Failure):
        written[0].accepted = True
    return written
