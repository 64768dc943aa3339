"""Several attempts at a step, from which a method chooses by their rewards."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.decoding.models import Models
from tasks.decoding.trajectory import Attempt, Failure, Step, Trajectory


async def propose(role: str, paths: Sequence[Trajectory], models: Models) -> Step | Failure:
    """Scored attempts of one role at a trajectory's next step: one that continues each of the paths, which may come
    several times. Equal attempts are scored once.

    Returns the attempts, numbered from 0, or the first failure among them. Attempts beyond the PRM's window have no
    reward.
    """
    step: Step = []
    for attempt in await models.write(role, paths, range(len(paths))):
        if isinstance(attempt, Failure):
            return attempt
        step.append(attempt)
    if len(step) == 1:
        [failure] = await models.score(paths, step)
        return failure or step
    distinct: dict[tuple[Trajectory, bytes], Attempt] = {}
    first = [
        distinct.setdefault((path, attempt.token_ids.tobytes()), attempt)
        for path, attempt in zip(paths, step, strict=True)
    ]
    for refused in await models.score([path for path, _ in distinct], list(distinct.values())):
        if refused is not None:
            return refused
    for attempt, scored in zip(step, first, strict=True):
        attempt.reward = scored.reward
    return step


def best(step: Sequence[Attempt]) -> Attempt:
    """The attempt with the highest reward, the first of equals. Any that has a reward is better than one without."""
    return max(step, key=rank_key)


def rank_key(attempt: Attempt) -> float:
    """What an attempt is ranked by: its reward, or -1 if it has none."""
    return -1.0 if attempt.reward is None else attempt.reward
