"""All that a page shows of an output."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from schemas.evaluation import MEAN
from tasks.output.totals import add_up
from tasks.output.totals import flops as flops_of
from tasks.report.comparison import rows
from tasks.report.cost import check_price, devices, held
from tasks.report.of_runs import of_calibration, of_runs
from tasks.report.places import Kind, ReportedRun, kind_of, read_runs, recommended, title
from tasks.report.row import Row
from tasks.report.shown import ShownSolutions
from tasks.report.sums import Sums, read
from tasks.report.texts import plain
from tasks.storage.store import Store
from tasks.telemetry import timeline
from tasks.telemetry.lanes import Process


@dataclass(frozen=True)
class Contents:
    """All that a page shows."""

    kind: Kind
    title: str
    runs: list[ReportedRun]
    sums_by_run: list[Sums]
    """Of each run."""
    rows: list[Row]
    shown: ShownSolutions
    processes: list[Process]
    """Of a run, for its timeline."""
    price: float | None
    recommended: float | None
    """The threshold that a calibration chose."""

    @property
    def run(self) -> ReportedRun:
        """The first run; the only one where the output is a run."""
        return self.runs[0]

    @property
    def total(self) -> Sums:
        """The sums over all runs."""
        total = Sums()
        for sums in self.sums_by_run:
            total += sums
        return total

    @property
    def models(self) -> dict[str, str]:
        """Role to its model's name; where runs differ, to all of them, though some be called alike."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for run in self.runs:
            for role in run.config.roles:
                model = run.config.model(role).model.rstrip("/")
                found[role][model] = plain(model.split("/")[-1])
        order = ["draft", "target", "prm", *found]
        return {
            role: ", ".join(found[role].values()) + " (runs differ)" * (len(found[role]) > 1)
            for role in sorted(found, key=order.index)
        }

    def groups(self) -> dict[str, Sums]:
        """Method and threshold to the sums over seeds and benchmarks."""
        found: dict[str, Sums] = defaultdict(Sums)
        for run, sums in zip(self.runs, self.sums_by_run, strict=True):
            found[run.title] += sums
        return found

    @property
    def chosen(self) -> Row | None:
        """The row whose figures stand at the top of an evaluation or calibration. It is on the mean over benchmarks, or
        on the only one: the recommended threshold, else the most accurate method that rewrites steps, else the most
        accurate method."""
        benchmarks = [row.benchmark for row in self.rows]
        of = MEAN if MEAN in benchmarks else benchmarks[0]
        there = [row for row in self.rows if row.benchmark == of and row.accuracy is not None]
        if self.recommended is not None:
            there = [row for row in there if row.threshold == self.recommended] or there
        there = [row for row in there if row.record.rewrites] or there
        return max(there, key=lambda row: (row.accuracy or 0, -row.flops_generated), default=None)

    @property
    def why(self) -> str:
        """The reason why the chosen row is the first."""
        if self.chosen is None:
            return ""
        kind = self.chosen.kind if self.chosen.record.rewrites else "method"
        return f"the most accurate {kind}{' on the mean over benchmarks' if self.chosen.benchmark == MEAN else ''}"

    @property
    def target(self) -> Row | None:
        """The target alone, beside the chosen row."""
        chosen = self.chosen
        return next(
            (row for row in self.rows if chosen and row.benchmark == chosen.benchmark and row.record.baseline), None
        )


def gather(store: Store, price: float | None) -> Contents:
    """Read an output, a shard at a time. Raises UserError as `write_report` says."""
    check_price(price)
    kind = kind_of(store)
    found = read_runs(store, kind)
    shown, sums_by_run = ShownSolutions(), []
    for number, run in enumerate(found):
        sums = Sums()
        for solutions, steps, unsound in read(run):
            sums.add(solutions, steps, unsound)
            shown.add(number, solutions, steps, run.config.input.prefix, run.config.prompt)
        sums_by_run.append(sums)
    match kind:
        case "evaluation":
            compared = rows(store, found, sums_by_run)
        case "calibration":
            compared = of_calibration(store, found, sums_by_run)
        case "run":
            compared = of_runs(found, sums_by_run)
    processes = timeline.processes(store) if kind == "run" else []
    chosen = recommended(store) if kind == "calibration" else None
    return Contents(kind, title(store), found, sums_by_run, compared, shown, processes, price, chosen)


@dataclass(frozen=True)
class Spent:
    """The cost of a run, and the estimated cost of the target alone for as many tokens."""

    gpus: int
    seconds: float
    flops: float
    """For tokens written and scored."""
    flops_alone: float | None

    @property
    def hours(self) -> float:
        """GPU-hours."""
        return self.gpus * self.seconds / 3600

    @property
    def hours_alone(self) -> float | None:
        """An estimate: the target alone is taken to do as many FLOPs per GPU-hour as this run."""
        return self.hours * self.flops_alone / self.flops if self.flops_alone and self.flops else None


def spent(run: ReportedRun) -> Spent:
    """The cost of a run so far."""
    counts, usage = add_up(run.records)
    flops = flops_of(counts, usage, run.params)
    return Spent(devices(run.config), held(run), sum(flops["generated"].values()), flops["target_alone"])
