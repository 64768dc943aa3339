"""Rows made of runs: those of an evaluation that has no table yet, those of a calibration, or a run's own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from tasks.calibration import directory
from tasks.output.totals import add_up
from tasks.output.totals import flops as flops_of
from tasks.report.certainty import interval_of
from tasks.report.cost import devices
from tasks.report.places import ReportedRun
from tasks.report.row import Row
from tasks.report.sums import Sums
from tasks.storage.store import Store


def of_runs(found: list[ReportedRun], sums_by_run: list[Sums], shared: bool = False) -> list[Row]:
    """A row for each benchmark and method, its seeds together. Seconds are left out: runs may have shared engines; so
    are FLOPs of prompts where runs have `shared` what they computed."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, run in enumerate(found):
        groups[run.benchmark, run.method].append(number)
    return [_of_group([found[n] for n in group], [sums_by_run[n] for n in group], shared) for group in groups.values()]


def _of_group(found: list[ReportedRun], sums_by_run: list[Sums], shared: bool) -> Row:
    total, problems, generated, computed = Sums(), 0.0, 0.0, 0.0
    for run, sums in zip(found, sums_by_run, strict=True):
        total += sums
        problems += sums.solutions / run.config.decoding.samples
        counts, usage = add_up(run.records)
        flops = flops_of(counts, usage, run.params)
        generated += sum(flops["generated"].values())
        computed += sum(flops["computed"].values())
    each = 1 / problems if problems else 0.0
    run = found[0]
    low, high = interval_of(total, run.benchmark)
    return Row(
        benchmark=run.benchmark,
        method=run.label,
        kind=run.config.decoding.method,
        threshold=run.threshold,
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
        gpus=devices(run.config),
        hours=None,
    )


def of_calibration(store: Store, found: list[ReportedRun], sums_by_run: list[Sums]) -> list[Row]:
    """A row for each threshold, its figures and intervals those of calibration.json where that has it."""
    report = directory.load(store)
    known = {row["threshold"]: row for row in report["thresholds"]} if report else {}
    return [_settled(row, known.get(row.threshold)) for row in of_runs(found, sums_by_run, shared=True)]


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
