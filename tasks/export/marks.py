"""Which steps are the same: those with the same texts behind the same steps, whatever run wrote them.

A mark is a sum of hashes, one for each step up to and including the marked one, of its number and its text without
white space at its ends: 64 bits, the same for one version of polars only, so that marks are never stored.
"""

from __future__ import annotations

import polars as pl


def of_step(step: pl.Expr, text: pl.Expr) -> pl.Expr:
    """The part that one step adds to the marks of all that come behind it."""
    return pl.struct(step.cast(pl.Int32), text.str.strip_chars()).hash(seed=0)


def marked(steps: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Attempts with their `mark` (UInt64), each behind the accepted ones of earlier steps. `key`: the columns that say
    which solution an attempt is of."""
    own = steps.with_columns(mark=of_step(pl.col("step"), pl.col("text")))
    accepted = own.filter("accepted").sort(*key, "step")
    before = accepted.select(*key, pl.col("step") + 1, before=pl.col("mark").cum_sum().over(*key))
    found = own.join(before, on=[*key, "step"], how="left", maintain_order="left")
    return found.with_columns(mark=pl.col("mark") + pl.col("before").fill_null(0)).drop("before")


def mark_of(texts: pl.Series) -> pl.Series:
    """The mark of the last of each list of steps (list of string); no list is empty."""
    rows = pl.DataFrame({"texts": texts}).with_row_index("row").explode("texts")
    rows = rows.with_columns(step=pl.int_range(pl.len()).over("row"))
    sums = rows.group_by("row", maintain_order=True).agg(mark=of_step(pl.col("step"), pl.col("texts")).sum())
    return sums["mark"]
