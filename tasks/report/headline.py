"""The figures at the top of a page, and what its runs cost."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.evaluation import MEAN
from tasks.output.sound_rewards import TOLD
from tasks.output.totals import add_up
from tasks.report.certainty import interval_of
from tasks.report.gather import Contents, Spent, spent
from tasks.report.row import Row
from tasks.report.texts import hours, percent, points, power, span


@dataclass(frozen=True)
class Tile:
    """A figure at the top of the page."""

    name: str
    value: str
    about: str
    hours: float | None = None
    """GPU-hours that the page turns into money."""


@dataclass(frozen=True)
class Cost:
    """A line of the table of costs, in GPU-hours."""

    name: str
    hours: float
    alone: float | None
    """Of the target alone."""


def tiles(contents: Contents) -> list[Tile]:
    """The figures at the top of the page, in their order."""
    return _of_run(contents) if contents.kind == "run" else _of_many(contents)


def _of_run(contents: Contents) -> list[Tile]:
    run, sums = contents.run, contents.sums_by_run[0]
    counts, _ = add_up(run.records)
    low, high = interval_of(sums)
    drafted, by_target = (int(n) for n in sums.steps.sum(0))
    total = (run.manifest or run.output.run() or {}).get("solutions", counts.get("solutions", 0))
    samples = run.config.decoding.samples
    failed = f", {counts['failed']:,} failed" if counts.get("failed") else ""
    of = f" of {total:,}" if total > sums.solutions else ""
    found = [
        Tile(
            "Accuracy",
            percent(sums.accuracy),
            f"{sums.solved:,} of {sums.picked:,}; 95% interval {percent(low)} to {percent(high)}",
        )
        if sums.picked
        else Tile("Accuracy", "–", "no problem has a reference"),
        Tile("Problems", f"{round(sums.solutions / samples):,}", f"{sums.solutions:,}{of} solutions{failed}"),
    ]
    if run.config.decoding.record.rewrites:
        found.append(
            Tile("Target steps", percent(sums.target_share), f"{by_target:,} of {drafted + by_target:,} kept steps")
        )
    took = spent(run)
    if took.flops_alone and not run.config.decoding.record.baseline:
        ratio = took.flops / took.flops_alone
        found.append(
            Tile(
                "FLOPs against target alone",
                f"{ratio:.2f}×",
                f"{power(took.flops)} generated; the target alone is estimated",
            )
        )
    elif took.flops:
        found.append(Tile("FLOPs", power(took.flops), "for tokens generated"))
    return found + _spent(took)


def _spent(took: Spent) -> list[Tile]:
    held = f"{_devices(took.gpus)}, held {span(took.seconds)}"
    return [Tile("GPU-hours", hours(took.hours), held), Tile("Cost", "–", "GPU-hours at the price below", took.hours)]


def _devices(number: int) -> str:
    return f"{number} device{'s' * (number > 1)} as configured"


def coverage(contents: Contents) -> str:
    """The benchmarks and seeds that the hours of the table of costs cover; "" if that is one benchmark and one seed."""
    return _covered(contents, _compared(contents))


def _compared(contents: Contents) -> list[Row]:
    """The rows that the chosen one is compared with, and itself."""
    chosen = contents.chosen
    return [row for row in contents.rows if chosen and row.benchmark == chosen.benchmark]


def _covered(contents: Contents, rows: list[Row]) -> str:
    benchmarks = {row.benchmark for row in contents.rows} - {MEAN}
    seeds = {row.seeds for row in rows}
    parts = []
    if len(benchmarks) > 1 and rows[0].benchmark == MEAN:
        parts.append(f"all {len(benchmarks)} benchmarks")
    if max(seeds, default=1) > 1:
        parts.append(f"{max(seeds)} seeds" if len(seeds) == 1 else "each method's seeds")
    return " and ".join(parts)


def _of_many(contents: Contents) -> list[Tile]:
    row, target = contents.chosen, contents.target
    if row is None:
        return [Tile("Problems", f"{contents.total.solutions:,}", "solutions, none with a reference")]
    beside = (
        f"{points(row.difference)} points against the target alone"
        if row.difference is not None
        else f"95% interval {percent(row.low)} to {percent(row.high)}"
    )
    found = [
        Tile("Accuracy", percent(row.accuracy), beside),
        Tile("Problems", f"{row.problems:,}", f"{contents.total.solutions:,} solutions in {len(contents.runs):,} runs"),
    ]
    if row.record.rewrites and row.target_share is not None:
        found.append(Tile("Target steps", percent(row.target_share), "of the kept steps"))
    if target is not None and target.flops_generated and target is not row:
        ratio = row.flops_generated / target.flops_generated
        found.append(
            Tile(
                "FLOPs against target alone",
                f"{ratio:.2f}×",
                f"{power(row.flops_generated)} a problem generated; both measured",
            )
        )
    else:
        found.append(Tile("FLOPs a problem", power(row.flops_generated), "generated"))
    if row.hours is not None and row.gpus:
        of = f" of {covered}" if (covered := _covered(contents, [row])) else ""
        took = span(3600 * row.hours / row.gpus)
        found.append(Tile("GPU-hours", hours(row.hours), f"{_devices(row.gpus)}, decoding{of} took {took}"))
        found.append(Tile("Cost", "–", "GPU-hours at the price below", row.hours))
    return found


def costs(contents: Contents) -> list[Cost]:
    """The cost of the run; or of every method on the benchmark of the chosen row, which may stand for all of them."""
    if contents.kind == "run":
        took = spent(contents.run)
        return [Cost(contents.run.name, took.hours, took.hours_alone)] if took.seconds else []
    target = contents.target
    alone = target.hours / target.seeds if target and target.hours is not None else None
    return [
        Cost(row.name, row.hours, None if alone is None or row is target else alone * row.seeds)
        for row in _compared(contents)
        if row.hours is not None
    ]


def notes(contents: Contents) -> list[str]:
    """Notes on what is measured, what is estimated, and what is missing."""
    compared, covered = _compared(contents), coverage(contents)
    if contents.kind == "run":
        found = _of_a_run(contents)
    elif contents.kind == "calibration":
        found = [
            "Thresholds of a calibration share what they generated, so seconds and GPU-hours of a single one were not "
            "measured; FLOPs and tokens generated are those of a separate run."
        ]
    elif all(row.seconds is None for row in contents.rows):
        found = [
            "This evaluation has no table yet: figures come from its runs so far, without differences and seconds."
        ]
    else:
        found = [
            "Every figure of this evaluation is measured, the target alone included. GPU-hours: seconds of decoding "
            f"{'of ' + covered + ', added up, ' if covered else ''}times the devices that the configuration names; "
            "engines' start is left out."
            + " The target alone is taken as often as the method has seeds."
            * (len({r.seeds for r in compared}) > 1)
        ]
    if bad := contents.total.bad_references:
        found.append(
            f"Answers without a verdict, for the grader cannot read their references: {bad:,}. They do not count."
        )
    if unsound := contents.total.unsound:
        found.append(
            f"{unsound:,} {TOLD}: an earlier release kept what the reward model gave. They are in no figure or plot; "
            "decisions that were made by them stand."
        )
    shown, seen = len(contents.shown.heap), contents.shown.seen
    if shown < seen:
        found.append(
            f"{shown:,} of {seen:,} solutions are here to browse: a sample by a hash of the problem, the same every "
            "time. All figures and plots count every solution."
        )
    return found


def _of_a_run(contents: Contents) -> list[str]:
    run, found = contents.run, []
    if run.manifest is None:
        total = (run.output.run() or {}).get("shards", "its")
        found.append(
            f"This run has not finished: {len(run.records):,} of {total} shards are in this report; FLOPs by "
            "role and prompts come with the end."
        )
    if not run.config.decoding.record.baseline and spent(run).flops_alone:
        found.append(
            "The target alone was not run here. Its FLOPs are an estimate: as many tokens as the solutions keep, "
            "written by the target. Its GPU-hours are that estimate at this run's FLOPs per GPU-hour, which says "
            "little where models are tiny or engines wait. An evaluation measures both."
        )
    found.append(
        "GPU-hours: the devices that the configuration names, from the first to the last sign of life of each process, "
        "engines' start included."
    )
    return found
