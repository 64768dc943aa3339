"""Which steps of a run are rolled out, and the problem set that they make."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from schemas.rollouts import RolloutOptions
from schemas.tables import ROLLED_OUT
from tasks.export.filters import Filters
from tasks.export.marks import marked
from tasks.export.prm import continuing
from tasks.export.problems import keys_of
from tasks.export.runs import SourceShard
from tasks.export.solutions import COMPLETE, KEY
from tasks.problems.metadata import choices_of, columns_of

MORE_OF_SOLUTIONS = ["reference", "verdict"]
"""Columns that are read beside those of an export."""
GROUP = 2048
"""Rows of a row group."""
LOW = 2**32


def choose(shard: SourceShard, options: RolloutOptions, filters: Filters) -> pl.DataFrame:
    """The attempts of a shard that are to be rolled out, each behind those that share its first steps, with their
    problems."""
    attempts = marked(shard.steps, KEY)
    accepted = attempts.filter("accepted")
    gradable = shard.solutions.filter(pl.col("verdict").is_not_null()).select(*KEY)
    found = _join(attempts, gradable, filters, "the problem has no reference that can be read")
    if options.attempts == "kept":
        found = filters.keep(found, "thrown away", pl.col("accepted"))
    else:
        kept, thrown = found.filter("accepted"), found.filter(~pl.col("accepted"))
        on = continuing(thrown, accepted)
        filters.left_out["behind a beam that was not kept"] += len(thrown) - len(on)
        found = pl.concat([kept, on])
    problems = _problems(shard)
    if options.share < 1:
        # not by the high bits: those decide the splits of datasets
        some = problems.filter((pl.col("key") % LOW).cast(pl.Float64) / LOW < options.share)
        found = _join(found, some.select("problem_id"), filters, "problems beyond the share")
    found = filters.keep(found, "the solution's end: its verdict says what it is worth", pl.col("finish") != "eos")
    found = filters.keep(found, "empty, or cut by a length limit", COMPLETE)
    if options.min_reward is not None or options.max_reward is not None:
        found = filters.keep(found, "without a reward", pl.col("reward").is_not_null())
        low, high = options.min_reward or 0.0, 1.0 if options.max_reward is None else options.max_reward
        found = filters.keep(found, "reward below the least or above the most", pl.col("reward").is_between(low, high))
    found = found.sort(*KEY, "step", "attempt")
    first = pl.struct("problem_id", "mark").is_first_distinct()
    found = filters.keep(found, "the same steps once more", found.select(first).to_series())
    return found.join(problems, on="problem_id", maintain_order="left")


def _join(attempts: pl.DataFrame, wanted: pl.DataFrame, filters: Filters, reason: str) -> pl.DataFrame:
    found = attempts.join(wanted, on=wanted.columns, how="semi", maintain_order="left")
    filters.left_out[reason] += len(attempts) - len(found)
    return found


def _problems(shard: SourceShard) -> pl.DataFrame:
    """The columns that a problem set has of each problem, and its `key`."""
    found = shard.solutions.unique("problem_id", maintain_order=True)
    metadata = found["metadata"].to_list()
    others = [columns_of(about) for about in metadata]
    choices = [choices_of(about) for about in metadata]
    return found.select(
        "problem_id",
        "problem",
        answer="reference",
        choices=pl.Series(choices, dtype=pl.List(pl.String)),
        source=pl.Series([_text(about.get("source")) for about in others], dtype=pl.String),
        level=pl.Series([_text(about.get("level")) for about in others], dtype=pl.String),
        key=keys_of(found["problem"].to_list(), choices),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def problem_set(shard: SourceShard, chosen: pl.DataFrame) -> bytes:
    """The rows of chosen attempts as a Parquet file."""
    accepted = shard.steps.filter("accepted").sort(*KEY, "step")
    paths = accepted.group_by(*KEY).agg(pl.col("text").alias("path"))
    at = ("sample", "step", "attempt")
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, ROLLED_OUT, compression="zstd") as writer:
        for some in chosen.iter_slices(GROUP):
            rows = some.join(paths, on=KEY, maintain_order="left").select(
                pl.concat_str("problem_id", *at, separator=":").alias("problem_id"),
                "problem",
                "answer",
                "choices",
                "source",
                "level",
                pl.concat_list(pl.col("path").list.head(pl.col("step")), "text").alias("steps"),
                pl.lit(shard.run.run_id).alias("of_run"),
                pl.col("problem_id").alias("of_problem"),
                *(pl.col(name).alias(f"of_{name}") for name in at),
            )
            writer.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ROLLED_OUT))
    return sink.getvalue()
