"""The part that sft and dpo share: whole solutions, filtered and made into prompts and messages."""

from __future__ import annotations

import polars as pl

from schemas.export import ExportOptions
from tasks.export.filters import Filters

OF = ("key", "run", "run_id", "problem_id", "sample")
"""Where a row comes from."""
KEY = ["problem_id", "sample"]
COMPLETE = (pl.col("finish") != "length") & (pl.col("text").str.strip_chars() != "")
"""True of attempts that are complete steps. One without text, or cut by a length limit, teaches nothing about steps."""
CLOSE = 1e-6
"""Differences of float32 rewards that are so much below a margin still reach it: 0.9 - 0.8 does not make 0.1."""
KEPT = [
    *OF,
    "question",
    "system",
    "user",
    "prompt",
    "solution",
    "correct",
    "steps",
    "draft_steps",
    "tokens",
    "min_reward",
    "last_reward",
]
FINAL = ["steps", "draft_steps", "tokens", "min_reward", "last_reward"]


def ended_as(solutions: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """The solutions whose status was asked for; `filters` counts the others."""
    wanted = options.status or []
    return filters.keep(solutions, f"not {' or '.join(wanted)}", pl.col("status").is_in(wanted))


def measured(solutions: pl.DataFrame, steps: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """With `tokens`; those that are too short or too long, or have no text, left out."""
    kept = steps.lazy().filter("accepted").group_by("problem_id", "sample").agg(pl.col("tokens").cast(pl.Int64).sum())
    found = solutions.lazy().join(kept, on=["problem_id", "sample"], how="left", maintain_order="left").collect()
    found = found.with_columns(pl.col("tokens").fill_null(0))
    found = filters.keep(found, "empty", pl.col("solution").str.strip_chars() != "")
    if options.min_tokens is not None:
        found = filters.keep(found, "too short", pl.col("tokens") >= options.min_tokens)
    if options.max_tokens is not None:
        found = filters.keep(found, "too long", pl.col("tokens") <= options.max_tokens)
    return found


def prompt_messages() -> pl.Expr:
    """System message, where there is one, and the user's."""
    system = pl.when(pl.col("system").is_not_null()).then(_message("system", "system"))
    return pl.concat_list(system, _message("user", "user")).list.drop_nulls()


def answer_message(column: str) -> pl.Expr:
    """The text of a column as the assistant's message."""
    return pl.concat_list(_message("assistant", column))


def wide(margin: float) -> pl.Expr:
    """True if the chosen reward is above the rejected one by a margin."""
    chosen, rejected = (pl.col(name).cast(pl.Float64) for name in ("chosen_reward", "rejected_reward"))
    return chosen - rejected >= margin - CLOSE


def _message(role: str, column: str) -> pl.Expr:
    return pl.struct(role=pl.lit(role), content=pl.col(column))
