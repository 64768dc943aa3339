"""Solutions to learn from."""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas.export import ExportOptions
from tasks.export.filters import Filters
from tasks.export.likeness import most_different, signatures
from tasks.export.runs import SourceRun, SourceShard
from tasks.export.solutions import FINAL, KEPT, answer_message, ended_as, measured, prompt_messages

ORDER = ["key", "run", "problem_id", "sample"]


def lacks(run: SourceRun, options: ExportOptions) -> str | None:
    """Nothing: every run has solutions."""
    return None


def rows(shard: SourceShard, solutions: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """The solutions of a shard that pass the filters."""
    if options.answers != "any":
        known = filters.keep(solutions, "no verdict", pl.col("correct").is_not_null())
        right = pl.col("correct") if options.answers == "right" else ~pl.col("correct")
        solutions = filters.keep(known, "wrong answers" if options.answers == "right" else "right answers", right)
    solutions = ended_as(solutions, options, filters)
    if options.min_reward is not None:
        enough = pl.col(f"{options.reward}_reward") >= options.min_reward
        solutions = filters.keep(solutions, "reward below the least, or none", enough)
    share = pl.col("draft_steps") / pl.col("steps")
    if options.min_draft_share is not None:
        solutions = filters.keep(solutions, "too few steps of the draft", share >= options.min_draft_share)
    if options.max_draft_share is not None:
        solutions = filters.keep(solutions, "too many steps of the draft", share <= options.max_draft_share)
    return measured(solutions, shard.steps, options, filters).select(KEPT)


def choose(rows: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """Of the rows of whole problems, in ORDER, at most so many of each, as the dataset has them."""
    if options.per_problem is not None and len(rows):
        rows = filters.keep(rows, "beyond the most of a problem", pl.Series(_few(rows, options)))
    if options.format == "messages":
        texts = [pl.concat_list(prompt_messages(), answer_message("solution")).alias("messages")]
    else:
        texts = [pl.col("prompt"), pl.col("solution").alias("completion")]
    return rows.select("key", *texts, "run_id", "problem_id", "sample", "correct", *FINAL)


def _few(rows: pl.DataFrame, options: ExportOptions) -> np.ndarray:
    assert options.per_problem is not None
    many = (rows.select(pl.len().over("key")).to_series() > options.per_problem).to_numpy()
    crowd = rows.filter(pl.Series(many))
    rewards = crowd[f"{options.reward}_reward"].fill_null(-1.0).to_numpy()
    kept = np.ones(len(rows), bool)
    kept[many] = most_different(crowd["key"].to_numpy(), signatures(crowd["solution"]), rewards, options.per_problem)
    return kept
