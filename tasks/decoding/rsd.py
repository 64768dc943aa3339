"""Reward-guided speculative decoding (arXiv 2501.19324, algorithm 1), one step for a whole cohort."""

from __future__ import annotations

from schemas.config import DecodingConfig
from tasks.decoding.acceptance import probability
from tasks.decoding.models import Models
from tasks.decoding.seeds import coin
from tasks.decoding.trajectory import Attempt, Failure, Step, Trajectory


async def wave(live: list[Trajectory], models: Models, settings: DecodingConfig) -> list[Step | Failure]:
    """The draft proposes, the PRM judges, the target writes what was rejected."""
    outcome: dict[Trajectory, Step | Failure] = {}

    drafts: dict[Trajectory, Attempt] = {}
    for t, draft in zip(live, await models.write("draft", live), strict=True):
        if isinstance(draft, Failure):
            outcome[t] = draft
        else:
            drafts[t] = draft

    rejected: list[Trajectory] = []
    for (t, draft), failure in zip(
        drafts.items(), await models.score(list(drafts), list(drafts.values())), strict=True
    ):
        if failure:
            outcome[t] = failure
            continue
        judge(draft, t, models.seed, settings)
        outcome[t] = [draft]
        if not draft.accepted:
            rejected.append(t)

    for t, rewrite in zip(rejected, await models.write("target", rejected, attempt=1), strict=True):
        if isinstance(rewrite, Failure):
            outcome[t] = rewrite
        else:
            rewrite.accepted = True
            outcome[t] = [drafts[t], rewrite]

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
