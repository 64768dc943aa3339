"""Several attempts at a step, from which a method chooses by their rewards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.decoding.models import Models
from tasks.decoding.trajectory import Attempt, Failure, Step, Trajectory


async def propose(role: str, paths: Sequence[Sequence[Trajectory]], models: Models) -> list[Step | Failure]:
    """Scored attempts of one role at a step: for each step, an attempt that continues each of its paths. A path may
    come several times; all attempts are written in one batch and scored in another, equal ones once.

    Returns for each step its attempts, numbered from 0, or the first failure among them. Attempts beyond the PRM's
    window have no reward.
    """
    written = iter(
        await models.write(role, [p for some in paths for p in some], [n for some in paths for n in range(len(some))])
    )
    steps = [_whole([next(written) for _ in some]) for some in paths]
    asked: list[tuple[Trajectory, Attempt]] = []
    copies: list[tuple[Attempt, Attempt]] = []
    for step, some in zip(steps, paths, strict=True):
        if not isinstance(step, Failure):
            seen: dict[tuple[Trajectory, bytes], Attempt] = {}
            for path, attempt in zip(some, step, strict=True):
                first = seen.setdefault((path, attempt.token_ids.tobytes()), attempt)
                if first is attempt:
                    asked.append((path, attempt))
                else:
                    copies.append((attempt, first))
    failures = await models.score([path for path, _ in asked], [attempt for _, attempt in asked])
    failed = {id(attempt): failure for (_, attempt), failure in zip(asked, failures, strict=True) if failure}
    for attempt, first in copies:
        attempt.reward = first.reward
    return [step if isinstance(step, Failure) else _whole([failed.get(id(a), a) for a in step]) for step in steps]


def _whole(attempts: Iterable[Attempt | Failure]) -> Step | Failure:
    step: Step = []
    failure: Failure | None = None
    for attempt in attempts:
        if not isinstance(attempt, Failure):
            step.append(attempt)
        else:
            failure = failure or attempt
    return failure or step


def best(step: Sequence[Attempt]) -> Attempt:
    """The attempt with the highest reward, the first of equals. Any that has a reward is better than one without."""
    return max(step, key=standing)


def standing(attempt: Attempt) -> float:
    """What an attempt is ranked by."""
    return -1.0 if attempt.reward is None else attempt.reward
