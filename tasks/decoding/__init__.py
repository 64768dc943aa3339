"""The decoding core: trajectories, acceptance, methods. Pure: it imports neither vLLM nor Prefect.

Every trajectory is decoded at its own pace (decode.py), as a paper tells it for one problem. What many of them ask of a
role's engine at the same time goes to it as one batch (batching.py). To add a method, write a file with one coroutine

    async def step(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure

that returns the attempts at the trajectory's next step, numbered from 0 and exactly one of them accepted, or why there
is none; and add a line to DECODERS here, a record to METHODS in schemas/methods.py, and settings of its own to
`DecodingConfig` in schemas/decoding.py. Nothing else asks which method it is: the record says it.
`candidates.py` has what methods share that choose among several attempts. What a step decides must follow from the
attempts, their seeds and the settings alone, because a killed run is rebuilt from its attempts.

A method that picks one of a problem's finished samples has a `pick` beside its step (picking.py). A method that does
not know yet which attempt will be kept begins with a trajectory class of its own (beam.py).

One request that an engine refuses fails its whole trajectory, even if the method has other candidates left: the result
without that candidate would be another method's. `generate --retry-failed` tries the trajectory again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from schemas.config import DecodingConfig
from tasks.decoding import alone, beam, best_of_n, picking, process_best_of_n, rsd
from tasks.decoding.models import Models
from tasks.decoding.picking import Sample
from tasks.decoding.trajectory import Context, Failure, Step, Trajectory

NextStep = Callable[[Trajectory, Models, DecodingConfig], Awaitable[Step | Failure]]
Begin = Callable[[str, int, dict[str, Context], DecodingConfig], Trajectory]
Pick = Callable[[Sequence[Sample], DecodingConfig], int]


def plain(problem_id: str, sample: int, contexts: dict[str, Context], settings: DecodingConfig) -> Trajectory:
    """A sample that goes one way."""
    return Trajectory(problem_id, sample, contexts)


@dataclass(frozen=True)
class Decoder:
    """How a method decodes."""

    step: NextStep
    begin: Begin = plain
    """A trajectory of a problem's sample, given its prompts by role."""
    pick: Pick | None = None
    """Index of the sample that is the problem's answer; None: every sample is one."""


DECODERS: dict[str, Decoder] = {
    "rsd": Decoder(rsd.step),
    "target": Decoder(alone.target),
    "draft": Decoder(alone.draft),
    "speculative": Decoder(alone.target),  # faster, by what its engine is started with
    "majority": Decoder(alone.writer, pick=picking.majority),
    "best_of_n": Decoder(best_of_n.step, pick=picking.best_of_n),
    "process_best_of_n": Decoder(process_best_of_n.step),
    "beam": Decoder(beam.step, begin=beam.begin),
}
