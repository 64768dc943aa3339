"""Pairs of steps: what the target wrote against the draft's step that it stands for.

The run did not ask for the reward of the target's step: see `unscored`.
"""

from __future__ import annotations

import polars as pl

from schemas.export import ExportOptions
from tasks.export.filters import Filters
from tasks.export.runs import SourceRun, SourceShard
from tasks.export.solutions import COMPLETE, KEY, OF, ended_as, wide

ORDER = ["key", "run", "problem_id", "sample", "step"]


def lacks(run: SourceRun, options: ExportOptions) -> str | None:
    """Why a run has no such pairs; None if it can have some."""
    decoding = run.config.decoding
    return None if decoding.record.rewrites else f"method {decoding.method} has no target that rewrites steps"


def unscored(shard: SourceShard, solutions: pl.DataFrame, options: ExportOptions) -> pl.DataFrame:
    """The steps that pairs need a reward of and that have none: problem_id, sample, step, attempt. Of pairs that are
    the same, which `choose` finds, the first."""
    of = solutions.filter(pl.col("status").is_in(options.status or []))
    steps = shard.steps.join(of.select(KEY), on=KEY, how="semi")
    chosen = steps.filter(pl.col("accepted") & (pl.col("role") == "target") & pl.col("reward").is_null())
    pairs = chosen.filter(COMPLETE).join(_rejected(steps).filter("complete"), on=[*KEY, "step"], suffix="_rejected")
    pairs = pairs.filter(pl.col("text") != pl.col("text_rejected"))
    length = pl.col("text").str.len_chars()
    starts = steps.filter("accepted").sort(*KEY, "step")
    starts = starts.select(*KEY, "step", start=(length.cum_sum() - length).over(*KEY))
    pairs = pairs.join(starts, on=[*KEY, "step"]).join(of.select(*KEY, "key", "prompt", "solution"), on=KEY)
    before = pl.col("solution").str.slice(0, pl.col("start")).alias("before")
    first = pl.struct("key", "prompt", before, "text", "text_rejected").is_first_distinct()
    return pairs.sort("key", *KEY, "step").filter(first).select(*KEY, "step", "attempt")


def rows(shard: SourceShard, solutions: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """A row for each step that was rejected by its reward and written again."""
    solutions = ended_as(solutions, options, filters)
    accepted = shard.steps.filter("accepted").sort(*KEY, "step")
    length = pl.col("text").str.len_chars()
    accepted = accepted.with_columns(start=(length.cum_sum() - length).over(*KEY))
    chosen = accepted.filter(pl.col("role") == "target")
    if "no_reward" in chosen.columns:  # rewards were asked for after the run
        chosen = filters.keep(
            chosen, "the PRM gave a figure for the chosen step that is no reward", ~pl.col("no_reward")
        )
    pairs = chosen.join(_rejected(shard.steps), on=[*KEY, "step"], suffix="_rejected").join(
        solutions.select(*OF, "prompt", "solution"), on=KEY
    )
    pairs = filters.keep(pairs, "a step is empty, or cut by a length limit", COMPLETE & pl.col("complete"))
    # the accepted texts up to a step are the beginning of the solution
    before = pl.col("solution").str.slice(0, pl.col("start"))
    return pairs.select(
        *OF,
        "step",
        (pl.col("prompt") + before).alias("prompt"),
        pl.col("text").alias("chosen"),
        pl.col("text_rejected").alias("rejected"),
        pl.col("attempt").alias("chosen_attempt"),
        pl.col("attempt_rejected").alias("rejected_attempt"),
        pl.col("reward").alias("chosen_reward"),
        pl.col("reward_rejected").alias("rejected_reward"),
    )


def _rejected(steps: pl.DataFrame) -> pl.DataFrame:
    """The draft's steps that were rejected by their reward. Of several candidates that were rejected together, the one
    that was judged, which is the best of them."""
    thrown = steps.filter(~pl.col("accepted") & (pl.col("role") == "draft") & pl.col("reward").is_not_null())
    judged = thrown.sort(*KEY, "step", "reward", "attempt", descending=[False, False, False, True, False])
    return judged.unique([*KEY, "step"], keep="first").select(
        *KEY, "step", "attempt", "text", "reward", complete=COMPLETE
    )


def choose(rows: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """The pairs of whole problems, rows in ORDER."""
    rows = filters.keep(rows, "the target wrote the same step", pl.col("chosen") != pl.col("rejected"))
    same = pl.struct("key", "prompt", "chosen", "rejected")
    rows = filters.keep(rows, "exact duplicates", rows.select(same.is_first_distinct()).to_series())
    lacking = pl.col("chosen_reward").is_null()
    if options.unscored == "drop":
        rows = filters.keep(rows, "the chosen step has no reward", ~lacking)
    if options.margin is not None:
        rows = filters.keep(rows, "margin below the least", lacking | wide(options.margin))
    return rows.drop("run")
