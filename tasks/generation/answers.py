"""The answers of a shard: which samples its method picks, and their scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.config import DecodingConfig
from tasks.decoding import DECODERS
from tasks.decoding.picking import Sample, score
from tasks.decoding.trajectory import Trajectory
from tasks.grading import Grades
from tasks.grading.equivalence import alike
from tasks.problems.reader import Problem


@dataclass(frozen=True)
class Choice:
    """One entry a trajectory."""

    picked: list[bool]
    scores: list[float | None]

    @classmethod
    def all_of(cls, trajectories: Sequence[Trajectory]) -> Choice:
        """Every sample is an answer by itself."""
        return cls([True] * len(trajectories), [None] * len(trajectories))


def choose(
    trajectories: Sequence[Trajectory],
    answers: Sequence[str | None],
    problems: Mapping[str, Problem],
    grader: Grades,
    settings: DecodingConfig,
) -> Choice:
    """What the method picks of all samples of some problems. `answers`: those of the trajectories, as graded."""
    pick = DECODERS[settings.method].pick
    if pick is None:
        return Choice.all_of(trajectories)
    scores = [score(t, settings) for t in trajectories]
    of: dict[str, list[int]] = defaultdict(list)
    for i, t in enumerate(trajectories):
        of[t.problem_id].append(i)
    # a sample that failed has no say, so its answer need not be understood
    votes = [None if t.status == "failed" else answer for t, answer in zip(trajectories, answers, strict=True)]
    groups = alike([([votes[i] for i in some], problems[p].choices) for p, some in of.items()], grader)
    picked = [False] * len(trajectories)
    for some, numbers in zip(of.values(), groups, strict=True):
        samples = [Sample(trajectories[i].status, n, scores[i]) for i, n in zip(some, numbers, strict=True)]
        picked[some[pick(samples, settings)]] = True
    return Choice(picked, scores)
