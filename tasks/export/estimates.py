"""Estimates of steps from roll-outs: the share of continuations from a step that are right (Math-Shepherd, arXiv
2312.08935).

Estimates belong to a problem and the texts of its first steps, so that roll-outs of one run say something of equal
steps of another, and those of several outputs add up. A step with which its solution ended needs none: the verdict is
known, or grading finds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from tasks.errors import UserError
from tasks.export.buckets import Buckets
from tasks.export.marks import mark_of, marked
from tasks.export.problems import keys_of
from tasks.export.rollouts.record import read_record
from tasks.export.runs import SourceRun, SourceShard, open_run, read_solutions
from tasks.export.solutions import KEY
from tasks.grading import Grader
from tasks.problems.metadata import choices_of, steps_of
from tasks.storage.stores import Stores

RUN = "run"
PREFIX = "steps"
"""Column of the problem set, and of its solutions' metadata, with the steps that roll-outs go on from."""
COUNTS = {"mark": pl.UInt64, "right": pl.UInt32, "graded": pl.UInt32}


@dataclass(frozen=True)
class Rollouts:
    """An output of `stepwave rollouts`."""

    run: SourceRun
    """The run that made them."""
    record: dict[str, Any]
    """rollouts.json."""


def open_rollouts(dests: list[str], stores: Stores) -> list[Rollouts]:
    """Raises UserError if one is no output of roll-outs, or has none committed yet."""
    found: list[Rollouts] = []
    for number, dest in enumerate(dests):
        record = read_record(stores.store(dest))
        if record is None:
            raise UserError(f"--rollouts: {dest} is no output of `stepwave rollouts`")
        run = open_run(stores.store(f"{dest.rstrip('/')}/{RUN}"), number)
        if (twin := next((other for other in found if other.run.run_id == run.run_id), None)) is not None:
            raise UserError(f"--rollouts: {dest} has the same roll-outs as {twin.run.address}; name it once")
        found.append(Rollouts(run, record))
    return found


def counted(run: SourceRun) -> Iterator[pl.DataFrame]:
    """The counts of a run's committed shards, a row for each step that was rolled out: key and mark (UInt64), and of
    its roll-outs, failed ones and those without a verdict apart, how many are right and how many there are (UInt32)."""
    for solutions in read_solutions(run, ["problem_id", "problem", "correct", "status", "metadata"]):
        known = pl.col("correct").is_not_null() & (pl.col("status") != "failed")
        steps = solutions.group_by("problem_id", maintain_order=True).agg(
            pl.col("problem", "metadata").first(),
            right=(known & pl.col("correct")).sum().cast(pl.UInt32),
            graded=known.sum().cast(pl.UInt32),
        )
        steps = steps.filter(pl.col("graded") > 0)
        metadata = steps["metadata"].to_list()
        begun = pl.Series([steps_of(about, PREFIX) for about in metadata], dtype=pl.List(pl.String))
        keys = keys_of(steps["problem"].to_list(), [choices_of(about) for about in metadata])
        steps, begun = steps.with_columns(keys).filter(begun.list.len() > 0), begun.filter(begun.list.len() > 0)
        yield steps.with_columns(mark_of(begun).alias("mark")).select("key", *COUNTS)


class Estimates:
    """For one export. `count`: as many buckets as its rows have."""

    def __init__(self, rollouts: list[Rollouts], folder: str, count: int) -> None:
        self.grader = Grader()
        self.buckets = Buckets(folder, "rollouts", count)
        self.steps = [0] * len(rollouts)
        """Steps that each of the outputs has estimates of."""
        for number, one in enumerate(rollouts):
            for steps in counted(one.run):
                self.steps[number] += len(steps)
                self.buckets.add(steps)

    def close(self) -> None:
        """Close the files that are open."""
        self.grader.close()
        self.buckets.close()

    def prepare(self, shard: SourceShard) -> SourceShard:
        """A shard whose attempts have their `mark`, and those that ended a solution what came of it in `ended`
        (Float32): 1 where it is right, 0 where it is wrong."""
        steps = marked(shard.steps, KEY)
        verdicts = shard.solutions.select(*KEY, pl.col("correct").cast(pl.Float32))
        kept = steps.filter("accepted", finish="eos").join(verdicts, on=KEY)
        kept = kept.select(*KEY, "step", "attempt", ended="correct")
        ended = pl.concat([kept, self._graded(steps, shard.solutions)])
        return replace(shard, steps=steps.join(ended, on=[*KEY, "step", "attempt"], how="left", maintain_order="left"))

    def _graded(self, steps: pl.DataFrame, solutions: pl.DataFrame) -> pl.DataFrame:
        """The attempts that were thrown away and would have ended their solution."""
        accepted = steps.filter("accepted").sort(*KEY, "step")
        length = pl.col("text").str.len_chars()
        starts = accepted.select(*KEY, "step", start=(length.cum_sum() - length).over(*KEY))
        thrown = steps.filter(~pl.col("accepted"), finish="eos").join(starts, on=[*KEY, "step"])
        asked = solutions.drop_nulls("reference").select(*KEY, "solution", "reference", "metadata")
        thrown = thrown.join(asked, on=KEY)
        texts = thrown.select(pl.col("solution").str.slice(0, pl.col("start")) + pl.col("text")).to_series().to_list()
        choices = [choices_of(about) for about in thrown["metadata"].to_list()]
        grades = self.grader.grade(list(zip(texts, thrown["reference"].to_list(), choices, strict=True)))
        right = pl.Series("ended", [grade.correct for grade in grades], pl.Boolean).cast(pl.Float32)
        return thrown.select(*KEY, "step", "attempt").with_columns(right)

    def read(self, number: int) -> pl.DataFrame:
        """A bucket's estimates, once: key, mark and `share` (Float32) of right ones."""
        found = list(self.buckets.read(number))
        counts = pl.concat(found) if found else pl.DataFrame(schema={"key": pl.UInt64, **COUNTS})
        sums = counts.group_by("key", "mark").agg(pl.col("right", "graded").sum())
        return sums.select("key", "mark", share=(pl.col("right") / pl.col("graded")).cast(pl.Float32))


def estimated(rows: pl.DataFrame, shares: pl.DataFrame) -> pl.DataFrame:
    """Attempts with their `estimate` (Float32), null if nothing is known; without `ended`."""
    found = rows.join(shares, on=["key", "mark"], how="left", maintain_order="left")
    return found.with_columns(estimate=pl.coalesce("ended", "share")).drop("ended", "share")
