"""The decoding core: trajectories, waves, acceptance. Pure: it imports neither vLLM nor Prefect.

A wave takes every live trajectory of a cohort one step further. To add a method, write a file with one coroutine

    async def wave(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]

that returns for each trajectory, in order, the attempts at its next step (the last one accepted, all others rejected)
or why there is none, and add a line to METHODS and to ROLES_OF in schemas/config.py.
"""

from collections.abc import Awaitable, Callable

from schemas.config import DecodingConfig, Method
from tasks.decoding import alone, rsd
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Failure, Step, Trajectory

Wave = Callable[[list[Trajectory], Models, DecodingConfig], Awaitable[list[Step | Failure]]]

METHODS: dict[Method, Wave] = {"rsd": rsd.wave, "target": alone.target, "draft": alone.draft}
