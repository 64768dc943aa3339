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
from tasks.report.places import Cell
from tasks.report.row import Row
from tasks.report.tally import Tally
from tasks.storage.store import Store


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
    report = directory.load(store)
    known = {row["threshold"]: row for row in report["thresholds"]} if report else {}
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
