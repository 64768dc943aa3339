"""Reward-guided speculative decoding (arXiv 2501.19324, algorithm 1).

With several candidates, the draft's candidate with the best reward is judged.
"""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.acceptance import probability
from tasks.decoding.candidates import best, propose
from tasks.decoding.models import Models
from tasks.decoding.seeds import coin
from tasks.decoding.trajectory import Attempt, Failure, Step, Trajectory


async def step(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The draft proposes, the PRM scores, and the target writes the step again if it is rejected."""
    drafts = await propose("draft", [trajectory] * settings.candidates, models)
    if isinstance(drafts, Failure):
        return drafts
    judged = best(drafts)
    judge(judged, trajectory, models.seed, settings)
    if judged.accepted:
        return drafts

    [rewrite] = await models.write("target", [trajectory], after=len(drafts))
    if isinstance(rewrite, Failure):
        return rewrite
    rewrite.accepted = True
    return [*drafts, rewrite]


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
