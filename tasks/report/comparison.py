"""A row for each method (and threshold) on each benchmark."""

from __future__ import annotations

import io
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.evaluation import MEAN
from tasks.calibration import directory
from tasks.errors import UserError
from tasks.report.certainty import interval_of
from tasks.report.cost import devices
from tasks.report.places import Cell
from tasks.report.tally import Tally
from tasks.report.texts import plain
from tasks.store import Store
from tasks.totals import add_up
from tasks.totals import flops as flops_of

TABLE = "table.parquet"


@dataclass(frozen=True)
class Row:
    """A method on a benchmark (or the mean over them). Numbers are per problem unless said otherwise."""

    benchmark: str
    method: str
    kind: str
    threshold: float | None
    problems: int
    """How many."""
    accuracy: float | None
    low: float | None
    high: float | None
    """95% interval of the accuracy."""
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    """Of the accuracy, against the target alone, paired."""
    flops_generated: float
    flops_computed: float | None
    draft_tokens: float
    target_tokens: float
    prm_tokens: float
    target_share: float | None
    """Of the steps."""
    seconds: float | None
    """Of decoding a benchmark's problems: the mean over seeds, and over benchmarks."""
    per_second: float | None
    """Problems."""
    seeds: int
    gpus: int | None
    """As configured."""
    hours: float | None
    """GPU-hours of decoding in all: of every seed, and of every benchmark where the row is their mean."""
    target_share_low: float | None = None
    target_share_high: float | None = None
    flops_low: float | None = None
    flops_high: float | None = None
    """Of flops_generated."""

    @property
    def name(self) -> str:
        """The method, with its δ where the name lacks it."""
        return self.method if self.threshold is None else f"{self.method} δ {self.threshold:g}"


def rows(store: Store, found: list[Cell], tallies: list[Tally]) -> list[Row]:
    """Those of an evaluation's table; where there is none (yet), those of the runs. UserError where the table is not
    as `evaluate` writes it."""
    content = store.read_or_none(TABLE)
    if content is None:
        return of_runs(found, tallies)
    try:
        table = pq.ParquetFile(io.BytesIO(content)).read().to_pylist()
        gpus = {cell.method: devices(cell.config) for cell in found}
        compared = _in_all([_of_table(row, gpus) for row in table])
        one = len({row.benchmark for row in compared} - {MEAN}) == 1
        return [row for row in compared if not (one and row.benchmark == MEAN)]
    except KeyError as error:
        raise UserError(f"{store.path(TABLE)}: column {error} is missing; run `stepwave evaluate` again") from error
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        raise UserError(f"{store.path(TABLE)}: cannot be read; run `stepwave evaluate` again") from error


def _of_table(row: dict[str, Any], gpus: dict[str, int]) -> Row:
    def number(name: str) -> float | None:
        value = row[name]
        return None if value is None or not math.isfinite(value) else float(value)

    method, threshold = plain(row["method"]), number("threshold")
    seconds, seeds, devices = number("seconds"), int(row["seeds"]), gpus.get(cell_name(row["method"], threshold))
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
    """None where there are none, or one of them is None."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def cell_name(method: str, threshold: float | None) -> str:
    """What the runs of a row are called, but for their seeds."""
    return method if threshold is None else f"{method}-{threshold:.12g}"


def of_runs(found: list[Cell], tallies: list[Tally], shared: bool = False) -> list[Row]:
    """A row for each benchmark and method, its seeds together. Seconds are left out: runs may have shared engines; so
    are FLOPs of prompts where runs have `shared` what they computed."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, cell in enumerate(found):
        groups[cell.benchmark, cell.method].append(number)
    return [_of_group([found[n] for n in group], [tallies[n] for n in group], shared) for group in groups.values()]


def _of_group(found: list[Cell], tallies: list[Tally], shared: bool) -> Row:
    total, problems, generated, computed = Tally(), 0.0, 0.0, 0.0
    for cell, tally in zip(found, tallies, strict=True):
        total += tally
        problems += tally.solutions / cell.config.decoding.samples
        counts, usage = add_up(cell.records)
        flops = flops_of(counts, usage, cell.params)
        generated += sum(flops["generated"].values())
        computed += sum(flops["computed"].values())
    each = 1 / problems if problems else 0.0
    cell = found[0]
    low, high = interval_of(total, cell.benchmark)
    return Row(
        benchmark=cell.benchmark,
        method=cell.label,
        kind=cell.config.decoding.method,
        threshold=cell.threshold,
        problems=round(problems / len(found)),
        accuracy=total.accuracy,
        low=low,
        high=high,
        difference=None,
        difference_low=None,
        difference_high=None,
        flops_generated=generated * each,
        flops_computed=None if shared else computed * each,
        draft_tokens=total.tokens.get("draft_tokens", 0) * each,
        target_tokens=total.tokens.get("target_tokens", 0) * each,
        prm_tokens=total.tokens.get("prm_tokens", 0) * each,
        target_share=total.target_share,
        seconds=None,
        per_second=None,
        seeds=len(found),
        gpus=devices(cell.config),
        hours=None,
    )


def of_calibration(store: Store, found: list[Cell], tallies: list[Tally]) -> list[Row]:
    """A row for each threshold, its figures and intervals those of calibration.json where that has it."""
    report = directory.load(store) or {}
    known = {row["threshold"]: row for row in report.get("thresholds", [])}
    return [_settled(row, known.get(row.threshold)) for row in of_runs(found, tallies, shared=True)]


def _settled(row: Row, known: dict[str, Any] | None) -> Row:
    if known is None:
        return row
    return replace(
        row,
        accuracy=known["accuracy"],
        low=known["accuracy_low"],
        high=known["accuracy_high"],
        flops_generated=known["flops"],
        flops_low=known["flops_low"],
        flops_high=known["flops_high"],
        target_share=known["target_share"],
        target_share_low=known["target_share_low"],
        target_share_high=known["target_share_high"],
        draft_tokens=known["draft_tokens"],
        target_tokens=known["target_tokens"],
        prm_tokens=known["prm_tokens"],
    )


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (FLOPs, accuracy), those that no other beats in both, from cheap to dear."""
    best: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best
