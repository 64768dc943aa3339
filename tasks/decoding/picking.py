"""Which of a problem's samples is its answer. Failed samples do not count, unless all failed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from schemas.config import DecodingConfig
from tasks.decoding.trajectory import Status, Trajectory

AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "last": lambda rewards: rewards[-1],
    "min": min,
    "prod": math.prod,
    "mean": fmean,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A solution that can be picked."""

    status: Status | None
    answer: int | None
    """Equal for samples of a problem with answers of the same meaning; None if there is no answer."""
    score: float | None
    """In [0, 1]; None where nothing was scored."""


def score(trajectory: Trajectory, settings: DecodingConfig) -> float | None:
    """The score of a solution: the rewards of its scored steps, aggregated. None if no step was scored."""
    rewards = [a.reward for a in trajectory.steps if a.reward is not None]
    return AGGREGATIONS[settings.aggregation](rewards) if rewards else None


def majority(samples: Sequence[Sample], settings: DecodingConfig) -> int:
    """Index of the first sample with the most common answer. Ties go to the answer that came first. Without any answer
    it is the first sample that did not fail."""
    answers = _answers(samples)
    if not answers:
        return _able(samples)[0]
    return max(answers, key=len)[0]


def best_of_n(samples: Sequence[Sample], settings: DecodingConfig) -> int:
    """Index of the picked sample. `best`: the sample with the best score; finished ones come before those that were cut
    off. `weighted`: of the samples whose answer has the largest sum of scores, the best; without any answer as `best`.
    Ties go to the first."""
    answers = _answers(samples)
    if settings.pick == "weighted" and answers:
        of = max(answers, key=lambda group: sum(samples[i].score or 0.0 for i in group))
        return max(of, key=lambda i: _rank_key(samples[i]))
    return max(_able(samples), key=lambda i: (samples[i].status == "finished", _rank_key(samples[i])))


def _rank_key(sample: Sample) -> float:
    return -1.0 if sample.score is None else sample.score


def _able(samples: Sequence[Sample]) -> list[int]:
    """Those that did not fail; all where all failed."""
    return [i for i, sample in enumerate(samples) if sample.status != "failed"] or list(range(len(samples)))


def _answers(samples: Sequence[Sample]) -> list[list[int]]:
    """The indices of the samples that gave each answer, in the order in which answers came."""
    groups: dict[int, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        if sample.answer is not None and sample.status != "failed":
            groups[sample.answer].append(i)
    return list(groups.values())
