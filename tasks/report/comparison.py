"""A row for each method (and threshold) on each benchmark, as the table of an evaluation has them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pyarrow as pa

from schemas.evaluation import MEAN
from schemas.tables import EVALUATION
from tasks.errors import UserError
from tasks.problems.parquet.whole_table import whole_table
from tasks.report.cost import devices
from tasks.report.of_runs import of_runs
from tasks.report.places import ReportedRun
from tasks.report.row import Row
from tasks.report.sums import Sums
from tasks.report.texts import plain
from tasks.storage.store import Store

TABLE = "table.parquet"
NEWER = dict.fromkeys(("prm", "prm_difference", "prm_difference_low", "prm_difference_high"))
"""Columns that tables lack which were written before evaluations had several reward models."""


def rows(store: Store, found: list[ReportedRun], sums_by_run: list[Sums]) -> list[Row]:
    """The rows of an evaluation's table, or of its runs if there is no table yet. Raises UserError if the table is not
    as `evaluate` writes it."""
    content = store.read_or_none(TABLE)
    if content is None:
        return of_runs(found, sums_by_run)
    try:
        table = whole_table(content, store.path(TABLE), EVALUATION).to_pylist()
        gpus = {run.method: devices(run.config) for run in found}
        compared = _in_all([_of_table(row, gpus) for row in table])
        one = len({row.benchmark for row in compared} - {MEAN}) == 1
        return [row for row in compared if not (one and row.benchmark == MEAN)]
    except KeyError as error:
        raise UserError(f"{store.path(TABLE)}: column {error} is missing; run `stepwave evaluate` again") from error
    except (UserError, pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise UserError(f"{store.path(TABLE)}: cannot be read; run `stepwave evaluate` again") from error


def _of_table(row: dict[str, Any], gpus: dict[str, int]) -> Row:
    row = NEWER | row

    def number(name: str) -> float | None:
        value = row[name]
        return None if value is None or not math.isfinite(value) else float(value)

    method, threshold = plain(row["method"]), number("threshold")
    seconds, seeds, devices = number("seconds"), int(row["seeds"]), gpus.get(run_name(row["method"], threshold))
    return Row(
        benchmark=plain(row["benchmark"]),
        method=method,
        kind=row["kind"],
        threshold=threshold,
        problems=int(row["problems"]),
        accuracy=number("accuracy"),
        low=number("accuracy_low"),
        high=number("accuracy_high"),
        difference=number("difference"),
        difference_low=number("difference_low"),
        difference_high=number("difference_high"),
        prm=None if row["prm"] is None else plain(row["prm"]),
        prm_difference=number("prm_difference"),
        prm_difference_low=number("prm_difference_low"),
        prm_difference_high=number("prm_difference_high"),
        flops_generated=number("flops_generated") or 0.0,
        flops_computed=number("flops_computed"),
        draft_tokens=number("draft_tokens") or 0.0,
        target_tokens=number("target_tokens") or 0.0,
        prm_tokens=number("prm_tokens") or 0.0,
        target_share=number("target_share"),
        seconds=seconds,
        per_second=number("problems_per_second"),
        seeds=seeds,
        gpus=devices,
        hours=None if seconds is None or devices is None else seconds * seeds * devices / 3600,
    )


def _in_all(compared: list[Row]) -> list[Row]:
    """The same rows; those of the mean have the hours of all benchmarks."""
    hours: dict[str, list[float | None]] = defaultdict(list)
    for row in compared:
        if row.benchmark != MEAN:
            hours[row.name].append(row.hours)
    return [replace(row, hours=_sum(hours[row.name])) if row.benchmark == MEAN else row for row in compared]


def _sum(values: list[float | None]) -> float | None:
    """None if there are none, or one of them is None."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def run_name(method: str, threshold: float | None) -> str:
    """The name of a row's runs, without their seeds."""
    return method if threshold is None else f"{method}-{threshold:.12g}"
