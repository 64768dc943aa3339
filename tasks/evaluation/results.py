"""The result of a cell: the score of each problem, and the cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from tasks.evaluation.cells import Cell, Row
from tasks.output.directory import RunDirectory
from tasks.output.reading import committed_tables

AHEAD = 8
"""Shards that are read at a time."""
READ = ("problem_id", "reference", "verdict", "correct", "picked", "status")


@dataclass(frozen=True)
class Result:
    """What a cell's run came to, problem by problem."""

    benchmark: str
    row: Row
    seed: int
    scores: pl.DataFrame
    """problem_id string, score float64: see `scores`."""
    problems: int
    """Usable problems, with a reference or not."""
    failed: int
    """Solutions."""
    figures: dict[str, float | None]
    """Column of the table to its value, of this cell alone."""


def scores(solutions: pl.DataFrame) -> pl.DataFrame:
    """Problem to the share of its picked answers that are correct, float64 in [0, 1], in order of problem_id.

    What failed, or ran into the grader's time limit, counts as not correct. Problems without a reference, or with one
    that cannot be read, are left out.
    """
    return (
        solutions.filter(pl.col("picked") & pl.col("verdict").is_not_null())
        .group_by("problem_id")
        .agg(score=pl.col("correct").fill_null(False).cast(pl.Float64).mean())
        .sort("problem_id")
    )


def figures(manifest: dict[str, Any]) -> dict[str, float | None]:
    """Per problem, and in all, what a run took."""
    counts, problems = manifest["counts"], manifest["input"]["usable"]
    of_roles = manifest["accounts"]["roles"].values()
    # every role's engine is ready until decoding ends; the last one to be ready is where it begins
    seconds = min((role["ready"] for role in of_roles), default=0.0)
    return {
        "flops_generated": sum(manifest["flops"]["generated"].values()) / problems,
        "flops_computed": sum(manifest["flops"]["computed"].values()) / problems,
        "draft_tokens": counts["draft_tokens"] / problems,
        "target_tokens": counts["target_tokens"] / problems,
        "prm_tokens": counts["prm_tokens"] / problems,
        "target_share": counts["target_steps"] / counts["steps"] if counts["steps"] else None,
        "seconds": seconds,
        "problems_per_second": problems / seconds if seconds else None,
    }


def read_result(cell: Cell, manifest: dict[str, Any], output: RunDirectory) -> Result:
    """A cell's result from its finished run. Raises UserError if a table of it cannot be read."""
    read = committed_tables(output, output.records().good, {"solutions": READ}, AHEAD)
    tables = [pl.DataFrame(solutions.table) for _, (solutions,) in read]
    return Result(
        cell.benchmark,
        cell.row,
        cell.seed,
        scores(pl.concat(tables)),
        manifest["input"]["usable"],
        manifest["counts"]["failed"],
        figures(manifest),
    )
