"""The table of an evaluation: a row for each benchmark and method, and the plain mean over benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.evaluation import MEAN
from schemas.methods import METHODS
from schemas.tables import EVALUATION
from tasks.evaluation.cells import Row
from tasks.evaluation.results import Result
from tasks.resampling import interval, resampled_means

FIGURES = (
    "flops_generated",
    "flops_computed",
    "draft_tokens",
    "target_tokens",
    "prm_tokens",
    "target_share",
    "seconds",
    "problems_per_second",
)


@dataclass(frozen=True)
class Estimate:
    """A mean over problems, and what it is when they are drawn anew: float64 [RESAMPLES]."""

    value: float
    means: np.ndarray


def table(results: list[Result], namesakes: Mapping[Row, Row] = MappingProxyType({})) -> pa.Table:
    """Rows as schemas.tables.EVALUATION has them, in the order of the results, the means last.

    Differences are those to the first method of kind target, and of rows with a reward model of their own to their
    `namesakes`, each over the problems that both were graded on.
    """
    benchmarks = list(dict.fromkeys(result.benchmark for result in results))
    rows = list(dict.fromkeys(result.row for result in results))
    baseline = next((row for row in rows if METHODS[row.kind].baseline), None)
    found: list[dict[str, Any]] = []
    estimates: dict[tuple[Row, str], dict[str, Estimate | None]] = {}
    figures: dict[tuple[Row, str], dict[str, Any]] = {}
    for benchmark in benchmarks:
        of = {row: [r for r in results if (r.benchmark, r.row) == (benchmark, row)] for row in rows}
        scores = {row: _over_seeds(of[row]) for row in rows}
        for row in rows:
            beside = {"difference": baseline if row != baseline else None, "prm_difference": namesakes.get(row)}
            estimates[row, benchmark] = {"accuracy": _estimate(scores[row]["score"], benchmark)} | {
                name: None if other is None else _difference(scores[row], scores[other], benchmark)
                for name, other in beside.items()
            }
            figures[row, benchmark] = _mean([r.figures for r in of[row]])
            counted = {"seeds": len(of[row]), "problems": of[row][0].problems}
            found.append(_row(benchmark, row, counted, figures[row, benchmark], estimates[row, benchmark]))
    for row in rows:
        seeds = max(entry["seeds"] for entry in found if _is(entry, row))
        counted = {"seeds": seeds, "problems": sum(entry["problems"] for entry in found if _is(entry, row))}
        of_row = [estimates[row, benchmark] for benchmark in benchmarks]
        means = {name: _mean_estimate([one[name] for one in of_row]) for name in of_row[0]}
        found.append(_row(MEAN, row, counted, _mean([figures[row, benchmark] for benchmark in benchmarks]), means))
    return pa.Table.from_pylist(found, schema=EVALUATION)


def _is(entry: dict[str, Any], row: Row) -> bool:
    return (entry["method"], entry["threshold"]) == (row.method, row.threshold)


def _row(
    benchmark: str,
    row: Row,
    counted: dict[str, int],
    figures: dict[str, Any],
    estimates: dict[str, Estimate | None],
) -> dict[str, Any]:
    values: dict[str, Any] = {"benchmark": benchmark} | asdict(row) | counted
    for name, estimate in estimates.items():
        low, high = interval(estimate.means) if estimate else (None, None)
        values |= {name: estimate.value if estimate else None, f"{name}_low": low, f"{name}_high": high}
    return values | figures


def _over_seeds(results: list[Result]) -> pl.DataFrame:
    """Problem to its mean score over seeds, in order of problem_id."""
    everything = pl.concat([result.scores for result in results])
    return everything.group_by("problem_id").agg(pl.col("score").mean()).sort("problem_id")


def _estimate(scores: pl.Series, benchmark: str) -> Estimate | None:
    """None where nothing was graded."""
    values = scores.to_numpy()
    return Estimate(float(values.mean()), resampled_means(values, benchmark)) if len(values) else None


def _difference(scores: pl.DataFrame, baseline: pl.DataFrame, benchmark: str) -> Estimate | None:
    both = scores.join(baseline, on="problem_id", suffix="_of_baseline").sort("problem_id")
    return _estimate(both["score"] - both["score_of_baseline"], benchmark)


def _mean_estimate(estimates: list[Estimate | None]) -> Estimate | None:
    """The mean over benchmarks, whose problems are drawn independently; None where one of them has none."""
    known = [estimate for estimate in estimates if estimate is not None]
    if not known or len(known) < len(estimates):
        return None
    means = np.mean([estimate.means for estimate in known], axis=0)
    return Estimate(float(np.mean([estimate.value for estimate in known])), means)


def _mean(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of each figure; None where one of them is."""
    found: dict[str, Any] = {}
    for name in FIGURES:
        values = [of[name] for of in figures]
        found[name] = None if None in values else float(np.mean(values))
    return found
