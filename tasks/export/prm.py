"""Solutions with a label for each step, to train a process reward model on.

With labels from rewards there is a row for each solution, up to the first of its steps that has no reward (those that
the run did not ask for are asked first, see `unscored`), and one for each attempt that was thrown away, behind the
accepted steps before it. In a search only attempts that continue the accepted path have such a row. A row that is the
beginning of another is left out. With labels from answers there is a row for each graded solution.

Labels of another origin are another way to fill `labels` in, in `choose`.
"""

from __future__ import annotations

import polars as pl

from schemas.export import ExportOptions
from tasks.export.runs import Run, Shard
from tasks.export.solutions import KEY, OF, ended_as
from tasks.export.tally import Tally

ORDER = ["key", "run", "problem_id", "sample", "step", "attempt"]


def lacks(run: Run, options: ExportOptions) -> str | None:
    """Why a run has no labels; None where it can have some."""
    decoding = run.config.decoding
    if options.labels != "reward" or "prm" in decoding.roles:
        return None
    why = run.silent if options.unscored == "score" else "--unscored drop asks for none"
    what = f"method {decoding.method} has no rewards, and {why}"
    return None if why is None else f"{what} (--labels answer takes the final answers' verdicts)"


def unscored(shard: Shard, solutions: pl.DataFrame, options: ExportOptions) -> pl.DataFrame:
    """The accepted steps without a reward: problem_id, sample, step, attempt."""
    of = solutions.filter(pl.col("status").is_in(options.status or []))
    steps = shard.steps.filter(pl.col("accepted") & pl.col("reward").is_null())
    return steps.join(of.select(KEY), on=KEY, how="semi").select(*KEY, "step", "attempt")


def rows(shard: Shard, solutions: pl.DataFrame, options: ExportOptions, tally: Tally) -> pl.DataFrame:
    """Steps and rewards; `correct` is the verdict of the solution."""
    solutions = ended_as(solutions, options, tally)
    ended = pl.col("text").str.strip_suffix(shard.run.config.prompt.separator)
    steps = shard.steps.with_columns(text=ended)
    accepted = steps.filter("accepted").sort(*KEY, "step")
    if options.labels == "answer":
        solutions = tally.keep(solutions, "no verdict", pl.col("correct").is_not_null())
        return _rows(_paths(accepted), solutions)
    unseen = pl.col("reward").is_null().cum_sum().over(*KEY)
    paths = _paths(accepted.filter(unseen == 0))
    others = steps.filter(~pl.col("accepted") & pl.col("reward").is_not_null())
    thrown = _continuing(others, accepted).select(*KEY, "step", "attempt", "text", "reward")
    thrown = thrown.join(paths.drop("step", "attempt"), on=KEY, how="left")
    thrown = thrown.filter(pl.col("step") <= pl.col("completions").list.len().fill_null(0)).select(
        *KEY,
        "step",
        "attempt",
        _with("completions", "text", pl.List(pl.String)),
        _with("rewards", "reward", pl.List(pl.Float32)),
    )
    beginnings = thrown.select(*KEY, step=pl.col("step") - 1).unique()
    paths = paths.join(beginnings, on=[*KEY, "step"], how="anti")
    return _rows(pl.concat([paths, thrown.select(paths.columns)]), solutions)


def _continuing(attempts: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """Those that continue the accepted steps before them: all that name no parent, and of a search those whose parent
    is the accepted attempt. What a search wrote beyond the solution's last step stands at that one too, with parents of
    its own, and was written in later waves than the accepted attempt."""
    before = accepted.select(*KEY, pl.col("step") + 1, continued="attempt")
    found = attempts.join(before, on=[*KEY, "step"], how="left", maintain_order="left")
    found = found.join(accepted.select(*KEY, "step", together="wave"), on=[*KEY, "step"], how="left")
    searched = (pl.col("parent") == pl.col("continued")) & (pl.col("wave") == pl.col("together"))
    return found.filter(pl.col("parent").is_null() | searched)


def _paths(accepted: pl.DataFrame) -> pl.DataFrame:
    """A row per solution: its steps, one after the other."""
    return accepted.group_by(*KEY, maintain_order=True).agg(
        pl.col("step", "attempt").last(), pl.col("text").alias("completions"), pl.col("reward").alias("rewards")
    )


def _with(earlier: str, last: str, kind: pl.DataType) -> pl.Expr:
    """The steps before an attempt, and the attempt."""
    before = pl.col(earlier).fill_null(pl.lit([], dtype=kind)).list.head(pl.col("step"))
    return pl.concat_list(before, pl.col(last)).alias(earlier)


def _rows(found: pl.DataFrame, solutions: pl.DataFrame) -> pl.DataFrame:
    return found.join(solutions.select(*OF, "prompt", "correct"), on=KEY).select(
        *OF, "step", "attempt", "prompt", "completions", "rewards", "correct"
    )


def choose(rows: pl.DataFrame, options: ExportOptions, tally: Tally) -> pl.DataFrame:
    """The rows of whole problems, in ORDER, with labels."""
    whole = pl.struct("key", "prompt", pl.col("completions").list.join("\x1f"))
    rows = tally.keep(rows, "exact duplicates", rows.select(whole.is_first_distinct()).to_series())
    if options.labels == "answer":
        every, none = pl.element().is_not_null(), pl.element().is_null()
        labels = (
            pl.when("correct")
            .then(pl.col("completions").list.eval(every))
            .otherwise(pl.col("completions").list.eval(none))
        )
    else:
        labels = pl.col("rewards").list.eval(pl.element() >= options.threshold)
    return rows.with_columns(labels=labels).drop("run", "correct")
