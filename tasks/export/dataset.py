"""A dataset made of runs, in two passes: shard by shard to rows, then problem by problem to what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.datasets import schema
from schemas.export import ExportOptions, Kind
from tasks.errors import UserError
from tasks.export import dpo, prm, sft, step_dpo
from tasks.export.buckets import Buckets, bucket_count
from tasks.export.decontamination import Benchmark, contaminated, read_benchmarks
from tasks.export.duplicates import Duplicates
from tasks.export.estimates import Estimates, Rollouts, estimated
from tasks.export.filters import Filters
from tasks.export.problems import Splits, problems, text_frame
from tasks.export.runs import SourceRun, SourceShard, read
from tasks.export.writing import SplitWriter
from tasks.output.sound_rewards import TOLD
from tasks.storage.stores import Stores

BUILDERS: dict[Kind, ModuleType] = {"sft": sft, "step-dpo": step_dpo, "dpo": dpo, "prm": prm}
VERDICTS = pl.DataFrame(schema={"key": pl.UInt64, "right": pl.UInt32, "graded": pl.UInt32})


class Fill(Protocol):
    """Gives steps their rewards that the run has none of."""

    def plan_runs(self, runs: list[SourceRun]) -> list[SourceRun]:
        """The runs in the order in which they are taken. Raises UserError for what is seen to be wrong before any
        work."""

    def __call__(self, shard: SourceShard, wanting: Callable[[], pl.DataFrame], problems: pl.DataFrame) -> SourceShard:
        """A shard whose steps have rewards that are wanted (`unscored` of a kind); `problems`: those of the shard."""


@dataclass
class Made:
    """A dataset in a folder of this machine."""

    files: dict[str, str]
    """Name in the dataset to where it is."""
    rows: dict[str, int]
    """Split to its rows."""
    problems: dict[str, int]
    """Split to its problems."""
    seen: dict[str, int]
    """Problems, solutions and attempts that were read; a problem counts once in each run."""
    left_out: dict[str, int]
    """Reason to rows; the reasons in the order in which they were looked at."""
    benchmarks: list[Benchmark]
    skipped: dict[str, str]
    """Run to why it has nothing to give."""
    rolled_out: list[int]
    """Steps that each of the roll-outs has estimates of."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """Some first rows."""
    scored: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Run to what became of its steps that had no reward: see flows/lifecycle/missing_rewards.py."""


class Export:
    """One export: `make` does it."""

    def __init__(
        self,
        kind: Kind,
        runs: list[SourceRun],
        options: ExportOptions,
        folder: str,
        rollouts: list[Rollouts],
        fill: Fill | None = None,
    ) -> None:
        """`fill`: gives steps that have no reward one, where that is asked for."""
        self.kind, self.runs, self.options, self.folder, self.rollouts = kind, runs, options, folder, rollouts
        self.fill = fill
        self.builder = BUILDERS[kind]
        self.splits = Splits.read(options.splits or "none")
        self.filters = Filters()
        likeness = options.near_duplicates
        self.duplicates = Duplicates(likeness, self.filters) if likeness is not None else None
        self.seen = dict.fromkeys(("problems", "solutions", "attempts"), 0)

    def make(self, stores: Stores) -> Made:
        """Raises UserError where the runs have nothing to give, or a benchmark cannot be read."""
        skipped = {run.address: why for run in self.runs if (why := self.builder.lacks(run, self.options)) is not None}
        giving = [run for run in self.runs if run.address not in skipped]
        if not giving:
            raise UserError("; ".join(f"{out}: {self.kind} has nothing to give: {why}" for out, why in skipped.items()))
        if self.fill is not None:
            giving = self.fill.plan_runs(giving)
        self.benchmarks = read_benchmarks(self.options.decontaminate or [], self.options.ngram or 1, stores)
        size = sum(
            table["bytes"] for run in giving for record in run.records.values() for table in record["tables"].values()
        )
        rows = Buckets(self.folder, "rows", bucket_count(2 * size))
        verdicts = Buckets(self.folder, "verdicts", rows.count)
        estimates = Estimates(self.rollouts, self.folder, rows.count)
        more = ["reference"] if self.rollouts else []
        with closing(verdicts), closing(rows), closing(estimates):
            for run in giving:
                frame = text_frame(run.config.prompt, self.options.template, self.kind)
                for shard in read(run, more):
                    self._take(estimates.prepare(shard) if self.rollouts else shard, frame, rows, verdicts)
                    pa.default_memory_pool().release_unused()  # what Arrow frees it keeps otherwise
        writer = SplitWriter(self.folder, schema(self.kind, self.options.format == "messages"), self.splits)
        examples: list[dict[str, Any]] = []
        for number in range(rows.count):
            of_problems = list(verdicts.read(number))
            shares = estimates.read(number)
            for some in rows.read(number):
                some = estimated(some, shares) if self.rollouts else some
                chosen = self._choose(some, pl.concat(of_problems) if of_problems else None)
                writer.write(chosen)
                examples = examples or chosen.head(2).drop("key").to_dicts()
                pa.default_memory_pool().release_unused()
        files = writer.close()
        if not files:
            raise UserError(f"there is nothing to export: {self._why()}")
        left_out = {reason: count for reason, count in self.filters.left_out.items() if count}
        return Made(
            files,
            dict(writer.rows),
            dict(writer.problems),
            self.seen,
            left_out,
            self.benchmarks,
            skipped,
            estimates.steps,
            examples,
        )

    def _take(self, shard: SourceShard, frame: str, rows: Buckets, verdicts: Buckets) -> None:
        """The first pass: what one shard gives by itself."""
        asked = problems(shard, frame, self.options.levels)
        self.seen["problems"] += len(asked)
        self.seen["solutions"] += len(shard.solutions)
        self.seen["attempts"] += len(shard.steps)
        self.filters.left_out[TOLD] += shard.unsound
        config = shard.run.config
        solutions = shard.solutions.drop("problem", "metadata").join(asked, on="problem_id", maintain_order="left")
        solutions = solutions.with_columns(
            run=pl.lit(shard.run.number, pl.UInt32),
            run_id=pl.lit(shard.run.run_id),
            system=pl.lit(config.prompt.system, pl.String),
        )
        if self.options.min_solved is not None or self.options.max_solved is not None:
            graded = solutions.drop_nulls("correct").group_by("key", maintain_order=True)
            verdicts.add(
                graded.agg(right=pl.col("correct").sum().cast(pl.UInt32), graded=pl.len()).select(VERDICTS.columns)
            )
        if self.options.levels is not None:
            solutions = self.filters.keep(solutions, "another level", pl.col("level_fits"))
        if self.benchmarks:
            solutions = self._clean(solutions, asked)
        if self.fill is not None:
            shard = self.fill(shard, partial(self.builder.unscored, shard, solutions, self.options), asked)
        rows.add(self.builder.rows(shard, solutions, self.options, self.filters))

    def _clean(self, solutions: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
        """Without the problems of benchmarks."""
        hits = contaminated(asked["problem"], self.benchmarks, self.options.ngram or 1)
        for benchmark, hit in zip(self.benchmarks, hits, strict=True):
            ids = asked["problem_id"].filter(pl.Series(hit))
            benchmark.found += len(ids)
            benchmark.rows += int(solutions["problem_id"].is_in(ids.implode()).sum())
        clean = asked["problem_id"].filter(pl.Series(np.logical_not(hits.any(axis=0))))
        return self.filters.keep(solutions, "problems of benchmarks", pl.col("problem_id").is_in(clean.implode()))

    def _choose(self, rows: pl.DataFrame, verdicts: pl.DataFrame | None) -> pl.DataFrame:
        """The second pass: what is kept of some whole problems."""
        low, high = self.options.min_solved, self.options.max_solved
        if low is not None or high is not None:
            tallied = VERDICTS.clear() if verdicts is None else verdicts
            shares = tallied.group_by("key").agg(solved=pl.col("right").sum() / pl.col("graded").sum())
            rows = rows.join(shares, on="key", how="left")
            wanted = pl.col("solved").is_between(0.0 if low is None else low, 1.0 if high is None else high)
            rows = self.filters.keep(rows, "problems solved too often, too seldom, or never graded", wanted).drop(
                "solved"
            )
        rows = rows.sort(self.builder.ORDER)
        if self.duplicates is not None:
            rows = self.duplicates.without(rows)
        return self.builder.choose(rows, self.options, self.filters)

    def _why(self) -> str:
        reasons = [f"{reason}: {count:,}" for reason, count in self.filters.left_out.items() if count]
        what = f"of {self.seen['solutions']:,} solutions and {self.seen['attempts']:,} attempts none is left"
        return f"{what} ({'; '.join(reasons)})" if reasons else what
