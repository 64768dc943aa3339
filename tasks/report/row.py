"""A row of the comparison: what one method (at one threshold) did on one benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.methods import METHODS, MethodRecord


@dataclass(frozen=True)
class Row:
    """A method on a benchmark (or the mean over them). Numbers are per problem unless said otherwise."""

    benchmark: str
    method: str
    kind: str
    threshold: float | None
    problems: int
    """How many."""
    accuracy: float | None
    low: float | None
    high: float | None
    """95% interval of the accuracy."""
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    """Of the accuracy, against the target alone, paired."""
    flops_generated: float
    flops_computed: float | None
    draft_tokens: float
    target_tokens: float
    prm_tokens: float
    target_share: float | None
    """Of the steps."""
    seconds: float | None
    """Of decoding a benchmark's problems: the mean over seeds, and over benchmarks."""
    per_second: float | None
    """Problems."""
    seeds: int
    gpus: int | None
    """As configured."""
    hours: float | None
    """GPU-hours of decoding in all: of every seed, and of every benchmark where the row is their mean."""
    target_share_low: float | None = None
    target_share_high: float | None = None
    flops_low: float | None = None
    flops_high: float | None = None
    """Of flops_generated."""
    prm: str | None = None
    """Label of its reward model, where an evaluation has several; None for models.prm, and where it asks none."""
    prm_difference: float | None = None
    prm_difference_low: float | None = None
    prm_difference_high: float | None = None
    """Of the accuracy, against the same decoding under models.prm, paired."""

    @property
    def record(self) -> MethodRecord:
        """The record of its method."""
        return METHODS[self.kind]

    @property
    def name(self) -> str:
        """The method, with its δ where the name lacks it."""
        return self.method if self.threshold is None else f"{self.method} δ {self.threshold:g}"


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (FLOPs, accuracy), those that no other beats in both, from cheap to dear."""
    best: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best
