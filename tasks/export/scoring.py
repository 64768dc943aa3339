"""Rewards of steps that a run never asked its PRM about: each behind the accepted steps before it, as the run would
have asked. Solutions move in step, as many as the engine's cache holds, so that it finds what it has read of each.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from schemas.tables import REWARDS
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Attempt, Context, Ids, NoReward, Trajectory
from tasks.export.kept_rewards import SCHEMA
from tasks.export.solutions import KEY
from tasks.planning.prm_only import PrmPlan

AT_ONCE = 1024
"""Solutions that move in step, at most."""


@dataclass(frozen=True)
class Path:
    """A solution's accepted steps, as far as they matter here."""

    trajectory: Trajectory
    attempts: list[Attempt]
    wanted: set[int]
    """Steps whose reward is asked for."""


async def score(
    steps: pl.DataFrame,
    wanted: pl.DataFrame,
    problems: pl.DataFrame,
    plan: PrmPlan,
    models: Models,
    scored: Callable[[int], None],
) -> pl.DataFrame:
    """The rewards (REWARDS) of accepted steps, those `wanted`; null where one does not fit the PRM's window, its engine
    fails on it, or the PRM gives none for it. `problems`: problem_id and user message. `scored` hears of steps as they
    are done. Raises UserError where the PRM gives no rewards at all."""
    found: dict[str, list[Any]] = {name: [] for name in REWARDS.names}
    for cohort in _cohorts(_paths(steps, wanted), problems, plan):
        for number in sorted(set().union(*(path.wanted for path in cohort))):
            live = [path for path in cohort if number in path.wanted]
            for path in live:
                path.trajectory.steps = path.attempts[:number]
            trajectories = [path.trajectory for path in live]
            await models.catch_up(trajectories)
            asked = [path.attempts[number] for path in live]
            failures = await models.score(trajectories, asked)
            for t, attempt, failure in zip(trajectories, asked, failures, strict=True):
                place = (t.problem_id, t.sample, attempt.step, attempt.attempt)
                row = (*place, attempt.reward, isinstance(failure, NoReward))
                for name, value in zip(REWARDS.names, row, strict=True):
                    found[name].append(value)
            scored(len(live))
    return pl.DataFrame(found, schema=SCHEMA)


def _paths(steps: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """A row per solution with wanted steps: its accepted attempts up to the last of them."""
    of = wanted.group_by(KEY, maintain_order=True).agg(wanted="step")
    accepted = steps.filter("accepted").join(of, on=KEY).filter(pl.col("step") <= pl.col("wanted").list.max())
    return (
        accepted.sort(*KEY, "step")
        .group_by(KEY, maintain_order=True)
        .agg("attempt", "text", pl.col("tokens").sum(), pl.col("wanted").first())
    )


def _cohorts(paths: pl.DataFrame, problems: pl.DataFrame, plan: PrmPlan) -> Iterator[list[Path]]:
    """Solutions in the order of their problems, as many at a time as the cache holds."""
    cohort: list[Path] = []
    held = 0
    for row, prompt in _prompted(paths, problems, plan):
        size = len(prompt) + row["tokens"]  # in its writers' tokens, of which the PRM's will not be far
        if cohort and (len(cohort) == AT_ONCE or held + size > (plan.room or held + size)):
            yield cohort
            cohort, held = [], 0
        texts = zip(row["attempt"], row["text"], strict=True)
        attempts = [Attempt(n, k, "", text, array("i"), "step", 0) for n, (k, text) in enumerate(texts)]
        trajectory = Trajectory(row["problem_id"], row["sample"], {"prm": Context.of(prompt)})
        cohort.append(Path(trajectory, attempts, set(row["wanted"])))
        held += size
    if cohort:
        yield cohort


def _prompted(paths: pl.DataFrame, problems: pl.DataFrame, plan: PrmPlan) -> Iterable[tuple[dict[str, Any], Ids]]:
    """Rows with the ids of their prompts, some at a time: a shard's would take much room."""
    vocabulary = plan.roles["prm"].vocabulary
    for some in paths.join(problems.select("problem_id", "user"), on="problem_id", maintain_order="left").iter_slices(
        AT_ONCE
    ):
        users = some["user"].unique(maintain_order=True).to_list()
        prompts = dict(zip(users, vocabulary.prompts(users), strict=True))
        for row in some.iter_rows(named=True):
            yield row, prompts[row["user"]]
