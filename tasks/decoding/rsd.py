"""Reward-guided speculative decoding (arXiv 2501.19324, algorithm 1), one step for a whole cohort.

With several candidates, the draft's candidate with the best reward is judged.
"""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.acceptance import probability
from tasks.decoding.candidates import best, propose
from tasks.decoding.models import Models
from tasks.decoding.seeds import coin
from tasks.decoding.trajectory import Attempt, Failure, Step, Trajectory


async def wave(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The draft proposes, the PRM scores, the target rewrites rejected steps."""
    outcome: dict[Trajectory, Step | Failure] = {}
    rejected: dict[Trajectory, Step] = {}
    count = settings.candidates
    for t, drafts in zip(live, await propose("draft", [[t] * count for t in live], models), strict=True):
        outcome[t] = drafts
        if not isinstance(drafts, Failure):
            judged = best(drafts)
            judge(judged, t, models.seed, settings)
            if not judged.accepted:
                rejected[t] = drafts

    rewritten = await models.write("target", list(rejected), after=count)
    for (t, drafts), rewrite in zip(rejected.items(), rewritten, strict=True):
        if isinstance(rewrite, Failure):
            outcome[t] = rewrite
        else:
            rewrite.accepted = True
            outcome[t] = [*drafts, rewrite]

    return [outcome[t] for t in live]


def judge(draft: Attempt, trajectory: Trajectory, seed: int, settings: DecodingConfig) -> None:
    """Accept or reject a scored attempt, and note by which rule."""
    if draft.reward is None:  # no room left in the PRM's window: nothing can judge it, and nothing comes after it
        draft.accepted = True
        return
    draft.threshold = getattr(settings.accept, "threshold", None)
    draft.probability = probability(draft.reward, settings.accept)
    draft.accepted = (
        draft.probability >= 1.0  # as every coin is below 1
        or coin(seed, trajectory.problem_id, trajectory.sample, draft.step) < draft.probability
    )
