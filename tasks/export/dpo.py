"""Pairs of whole solutions: a right one against a wrong one of the same problem.

The best right solution by reward stands against the wrong one that the PRM likes best, the second against the second,
and so on: every solution is in one pair at most.
"""

from __future__ import annotations

import polars as pl

from schemas.export import ExportOptions
from tasks.export.filters import Filters
from tasks.export.runs import SourceRun, SourceShard
from tasks.export.solutions import KEPT, answer_message, ended_as, measured, prompt_messages, wide

ORDER = ["key", "run", "problem_id", "sample"]


def lacks(run: SourceRun, options: ExportOptions) -> str | None:
    """Nothing that is known before its tables are read."""
    return None


def rows(shard: SourceShard, solutions: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """The graded solutions of a shard that pass the filters."""
    solutions = filters.keep(solutions, "no verdict", pl.col("correct").is_not_null())
    solutions = ended_as(solutions, options, filters)
    return measured(solutions, shard.steps, options, filters).select(KEPT)


def choose(rows: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """The pairs of whole problems, rows in ORDER."""
    rows = rows.with_columns(reward=pl.col(f"{options.reward}_reward"))
    best = rows.sort("key", pl.col("reward").fill_null(-1.0), descending=[False, True], maintain_order=True)
    asked = ["key", "system", "user", "prompt"]
    best = best.with_columns(place=pl.int_range(pl.len()).over(*asked, "correct"))
    right, wrong = best.filter("correct"), best.filter(~pl.col("correct"))
    pairs = right.join(
        wrong.select(*asked, "place", "run_id", "problem_id", "sample", "solution", "reward"),
        on=[*asked, "place"],
        nulls_equal=True,
        suffix="_rejected",
        maintain_order="left",
    )
    filters.left_out["right or wrong solutions without a counterpart"] += len(rows) - 2 * len(pairs)
    pairs = filters.keep(
        pairs, "right and wrong solution are the same", pl.col("solution") != pl.col("solution_rejected")
    )
    if options.per_problem is not None:
        place = pl.int_range(pl.len()).over("key")
        pairs = filters.keep(pairs, "beyond the most of a problem", place < options.per_problem)
    pairs = pairs.rename({"reward": "chosen_reward", "reward_rejected": "rejected_reward"})
    if options.margin is not None:
        pairs = filters.keep(pairs, "margin below the least, or a reward missing", wide(options.margin))
    if options.format == "messages":
        texts = {
            "prompt": prompt_messages(),
            "chosen": answer_message("solution"),
            "rejected": answer_message("solution_rejected"),
        }
    else:
        texts = {"prompt": pl.col("prompt"), "chosen": pl.col("solution"), "rejected": pl.col("solution_rejected")}
    return pairs.select(
        "key",
        *(text.alias(name) for name, text in texts.items()),
        "run_id",
        "problem_id",
        "sample",
        *(pl.col(f"{name}_rejected").alias(f"rejected_{name}") for name in ("run_id", "problem_id", "sample")),
        "chosen_reward",
        "rejected_reward",
    )
