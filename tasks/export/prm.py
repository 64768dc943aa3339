"""Solutions with a label for each step, to train a process reward model on.

With labels from rewards there is a row for each solution, up to the first of its steps that has no reward (those that
the run did not ask for are asked first, see `unscored`), and one for each attempt that was thrown away, behind the
accepted steps before it. In a search only attempts that continue the accepted path have such a row. A row that is the
beginning of another is left out. With labels from roll-outs the same holds of the steps that they say something of; as
those lie elsewhere, rows are made when all that concerns a problem has come together. With labels from answers there is
a row for each graded solution.
"""

from __future__ import annotations

import polars as pl

from schemas.export import ExportOptions
from tasks.export.filters import Filters
from tasks.export.kept_rewards import any_kept
from tasks.export.runs import SourceRun, SourceShard
from tasks.export.solutions import COMPLETE, KEY, OF, ended_as

ORDER = ["key", "run", "problem_id", "sample", "step", "attempt"]
LISTS = {"text": "completions", "reward": "rewards", "estimate": "estimates", "right": "labels"}
"""Column of an attempt to that of a row, which has it of every step."""


def lacks(run: SourceRun, options: ExportOptions) -> str | None:
    """Why a run has no labels; None if it can have some."""
    decoding = run.config.decoding
    if options.labels != "reward" or "prm" in decoding.roles:
        return None
    why = run.silent
    if options.unscored != "score":
        why = None if any_kept(run) else "--unscored drop asks for none"
    what = f"method {decoding.method} has no rewards, and {why}"
    return None if why is None else f"{what} (--labels answer takes the final answers' verdicts)"


def unscored(shard: SourceShard, solutions: pl.DataFrame, options: ExportOptions) -> pl.DataFrame:
    """The accepted steps without a reward: problem_id, sample, step, attempt."""
    of = solutions.filter(pl.col("status").is_in(options.status or []))
    steps = _whole(shard.steps.filter("accepted").sort(*KEY, "step")).filter(pl.col("reward").is_null())
    return steps.join(of.select(KEY), on=KEY, how="semi").select(*KEY, "step", "attempt")


def _whole(accepted: pl.DataFrame) -> pl.DataFrame:
    """The accepted steps, in order, before the first that is none."""
    return accepted.filter((~COMPLETE).cum_sum().over(*KEY) == 0)


def rows(shard: SourceShard, solutions: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """Steps and rewards; `correct` is the verdict of the solution. For labels from roll-outs the attempts one by one,
    with the prompt at one of each solution."""
    solutions = ended_as(solutions, options, filters)
    ended = pl.col("text").str.strip_suffix(shard.run.config.prompt.separator)
    steps = shard.steps.with_columns(text=ended)
    tried = steps.join(solutions.select(KEY), on=KEY, how="semi")
    filters.left_out["steps that are empty, or cut by a length limit, with what follows"] += len(
        tried.filter(~COMPLETE)
    )
    every = steps.filter("accepted").sort(*KEY, "step")
    accepted = _whole(every)
    if options.labels == "answer":
        solutions = filters.keep(solutions, "no verdict", pl.col("correct").is_not_null())
        return _rows(_paths(accepted, KEY), solutions)
    others = continuing(steps.filter(~pl.col("accepted") & COMPLETE), every)
    if options.labels == "rollouts":
        attempts = pl.concat([accepted, others]).join(solutions.select(*OF, "prompt", "correct"), on=KEY)
        first = pl.int_range(pl.len()).over(KEY) == 0
        prompt = pl.when(first).then("prompt").alias("prompt")
        numbers = ("step", "attempt", "accepted")
        return attempts.select(*OF, *numbers, "text", "reward", "mark", "ended", prompt, "correct")
    return _rows(_seen(accepted, others, "reward", KEY), solutions)


def continuing(attempts: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """Those that continue the accepted steps before them: all that name no parent, and of a search those whose parent
    is the accepted attempt. What a search wrote beyond the solution's last step stands at that one too, with parents of
    its own, and was written in later waves than the accepted attempt."""
    before = accepted.select(*KEY, pl.col("step") + 1, continued="attempt")
    found = attempts.join(before, on=[*KEY, "step"], how="left", maintain_order="left")
    found = found.join(accepted.select(*KEY, "step", together="wave"), on=[*KEY, "step"], how="left")
    searched = (pl.col("parent") == pl.col("continued")) & (pl.col("wave") == pl.col("together"))
    return found.filter(pl.col("parent").is_null() | searched).select(attempts.columns)


def _seen(accepted: pl.DataFrame, others: pl.DataFrame, by: str, key: list[str]) -> pl.DataFrame:
    """A row for each solution, up to the first of its accepted steps of which `by` is null, and one for each of the
    other attempts that comes behind such steps."""
    unseen = pl.col(by).is_null().cum_sum().over(*key)
    paths = _paths(accepted.filter(unseen == 0), key)
    thrown = others.drop_nulls(by).join(paths.drop("step", "attempt"), on=key, how="left")
    thrown = thrown.filter(pl.col("step") <= pl.col("completions").list.len().fill_null(0))
    thrown = thrown.select(*key, "step", "attempt", *(_with(lists, one, thrown) for one, lists in _lists(others)))
    beginnings = thrown.select(*key, step=pl.col("step") - 1).unique()
    paths = paths.join(beginnings, on=[*key, "step"], how="anti")
    return pl.concat([paths, thrown.select(paths.columns)])


def _lists(attempts: pl.DataFrame) -> list[tuple[str, str]]:
    return [(one, lists) for one, lists in LISTS.items() if one in attempts.columns]


def _paths(accepted: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """A row per solution: its steps, one after the other."""
    return accepted.group_by(*key, maintain_order=True).agg(
        pl.col("step", "attempt").last(), *(pl.col(one).alias(lists) for one, lists in _lists(accepted))
    )


def _with(earlier: str, last: str, rows: pl.DataFrame) -> pl.Expr:
    """The steps before an attempt, and the attempt."""
    before = pl.col(earlier).fill_null(pl.lit([], dtype=rows.schema[earlier])).list.head(pl.col("step"))
    return pl.concat_list(before, pl.col(last)).alias(earlier)


def _rows(found: pl.DataFrame, solutions: pl.DataFrame) -> pl.DataFrame:
    return found.join(solutions.select(*OF, "prompt", "correct"), on=KEY).select(
        *OF, "step", "attempt", "prompt", "completions", "rewards", "correct"
    )


def choose(rows: pl.DataFrame, options: ExportOptions, filters: Filters) -> pl.DataFrame:
    """The rows of whole problems, in ORDER, with labels. For labels from roll-outs `rows` are attempts with their
    `estimate`, in ORDER."""
    if options.labels == "rollouts":
        rows = _of_estimates(rows, filters)
    whole = pl.struct("key", "prompt", pl.col("completions").list.join("\x1f"))
    rows = filters.keep(rows, "exact duplicates", rows.select(whole.is_first_distinct()).to_series())
    if options.labels == "answer":
        every, none = pl.element().is_not_null(), pl.element().is_null()
        labels = (
            pl.when("correct")
            .then(pl.col("completions").list.eval(every))
            .otherwise(pl.col("completions").list.eval(none))
        )
    elif options.labels == "rollouts":
        least = options.threshold
        labels = pl.col("labels" if least is None else "estimates")
        if least is not None:
            labels = labels.list.eval(pl.element() >= least)
    else:
        labels = pl.col("rewards").list.eval(pl.element() >= options.threshold)
    if "estimates" not in rows.columns:
        rows = rows.with_columns(estimates=pl.lit(None, pl.List(pl.Float32)))
    return rows.with_columns(labels=labels).drop("run", "correct")


def _of_estimates(attempts: pl.DataFrame, filters: Filters) -> pl.DataFrame:
    key = ["run", *KEY]
    attempts = _right(attempts, key)
    accepted = attempts.filter("accepted")
    found = _seen(accepted, attempts.filter(~pl.col("accepted")), "estimate", key)
    filters.left_out["attempts without roll-outs, each with what comes behind it"] += attempts["estimate"].null_count()
    solutions = attempts.drop_nulls("prompt").select(*OF, "prompt", "correct")
    return found.join(solutions, on=key).sort(ORDER)


def _right(attempts: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Attempts with `right` (Boolean): is a way on from there known that ends right? One from a later step is one from
    all the steps before it too, in whichever solution these are."""
    found = pl.col("estimate").fill_null(0) > 0
    reach = pl.when(found).then(pl.col("step") - (~pl.col("accepted")).cast(pl.Int32)).max().over(key)
    on_the_way = pl.col("accepted") & (pl.col("step") <= reach).fill_null(False)
    return attempts.with_columns(right=found | on_the_way).with_columns(pl.col("right").any().over("key", "mark"))
