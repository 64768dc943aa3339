"""What an evaluation will do, found out before weights are loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from schemas.config import PrmConfig
from schemas.evaluation import EvaluationConfig, in_its_fields
from tasks.configuration.day import on_day
from tasks.configuration.parsing import dump_config
from tasks.configuration.yaml_text import read_yaml
from tasks.errors import UserError
from tasks.evaluation.benchmarks import problem_sets
from tasks.evaluation.cells import Cell, lay_out
from tasks.models.chat import today
from tasks.output.directory import RunDirectory
from tasks.output.kinds import EVALUATION, HEADER
from tasks.planning.overlap import keep_apart
from tasks.planning.plan import Plan, Seen, make_plan
from tasks.planning.shared import share_engines
from tasks.storage.store import Say, Store
from tasks.storage.stores import Stores


@dataclass
class CellRun:
    """A cell with its run."""

    cell: Cell
    output: RunDirectory
    manifest: dict[str, Any] | None
    """That of a finished run."""
    plan: Plan | None = None
    begun: bool = False

    @property
    def done(self) -> bool:
        """True if the cell's run is complete."""
        return self.manifest is not None


def begin(config: EvaluationConfig, store: Store) -> list[CellRun]:
    """The cells, in an output that is the evaluation's own. Raises UserError where it holds something else, or a cell
    of it is a run of another configuration."""
    there = check_place(config, store)
    config = of_its_day(config, there)
    now = HEADER + dump_config(config).encode()
    if there is None:
        store.create(EVALUATION, now)
    runs = open_cells(config, store, problem_sets(config, store))
    if there != now:
        store.write(EVALUATION, now)
    return runs


def check_place(config: EvaluationConfig, store: Store) -> bytes | None:
    """The output's evaluation.yaml; None if there is none yet. Raises UserError if the output is not an
    evaluation's."""
    for n, benchmark in enumerate(config.benchmarks):
        if benchmark.format is None:
            keep_apart(config, benchmark.path, f"benchmarks.{n}.path", store.retry.say)
    there = store.read_or_none(EVALUATION)
    if there is None and (strangers := store.keys("")):
        there = store.read_or_none(EVALUATION) or b""  # another process may have begun just now
    if there is not None and not there.startswith(HEADER):
        stranger = EVALUATION if there else strangers[0]
        raise UserError(
            f"{store.path()}: holds files that are not an evaluation's (such as {stranger}); give output.path a place "
            "of its own"
        )
    return there


def open_cells(config: EvaluationConfig, store: Store, problems: dict[str, str]) -> list[CellRun]:
    """The cells with their runs. `problems`: benchmark to its problem set. Raises UserError as `begin` raises it."""
    runs, stores = [], Stores.of(config, store.retry.say)
    for cell in lay_out(config, problems):
        output = RunDirectory(stores.store(cell.config.output.path))
        with telling(cell):
            output.check_same(cell.config)
        runs.append(CellRun(cell, output, output.manifest()))
    return runs


def of_its_day(config: EvaluationConfig, there: bytes | None) -> EvaluationConfig:
    """The configuration with the day of its prompts: the day of the evaluation that began in the output, or today."""
    return on_day(config, _day_of(there) or today())


def _day_of(evaluation: bytes | None) -> date | None:
    """The day that prompts are of in an evaluation that has begun."""
    with contextlib.suppress(UserError, LookupError, TypeError, ValueError):
        found = read_yaml((evaluation or b"").decode("utf-8", "replace"), EVALUATION)["prompt"]["date"]
        return found if found is None else date.fromisoformat(str(found))
    return None  # of an older release, or damaged, as cells will tell


def make_plans(config: EvaluationConfig, runs: list[CellRun], say: Say) -> None:
    """Make the plan of each cell's run, and see how far the run is. Raises UserError, naming the field."""
    fields = {benchmark.name: f"benchmarks.{n}.path" for n, benchmark in enumerate(config.benchmarks)}
    seen = Seen()
    for run in runs:
        try:
            run.plan = make_plan(run.cell.config, say, seen)
        except UserError as error:
            message = str(error)
            if not message.startswith(("models", "run.")):
                message = f"{fields[run.cell.benchmark]}: {message.removeprefix('input.path: ')}"
            raise UserError(in_its_fields(run.cell.row.prm, message)) from error
        with telling(run.cell):
            run.output.check_same(run.cell.config, run.plan.survey.fingerprint, run.plan.models)
        records = run.output.records()
        with telling(run.cell):
            run.output.check_whole(records, run.plan.models)
        run.begun = run.output.run() is not None
        if run.manifest is not None and records.open(run.plan.shards, run.manifest["retries"]):
            run.manifest = None  # something is missing or damaged: it is made again


def in_groups(runs: list[CellRun]) -> list[list[CellRun]]:
    """Open cells whose runs can share engines, each group with the plan of these engines."""
    groups: dict[Any, list[CellRun]] = {}
    open_ = [run for run in runs if not run.done]
    first = next((prm for run in open_ if (prm := _prm(run)) is not None), None)
    for run in open_:
        # what asks no reward model can do beside any
        groups.setdefault((_guesses(run), _prm(run) or first), []).append(run)
    for group in groups.values():
        with telling(of_engines(group)):
            plans = share_engines([_planned(run) for run in group])
        for run, plan in zip(group, plans, strict=True):
            run.plan = plan
    return list(groups.values())


def of_engines(group: list[CellRun]) -> Cell:
    """The cell whose reward model a group's engines are started with; the first where no cell asks any."""
    return next((run for run in group if _prm(run)), group[0]).cell


@contextmanager
def telling(cell: Cell) -> Iterator[None]:
    """Mistakes name the fields of the evaluation."""
    try:
        yield
    except UserError as error:
        if cell.row.prm is None:
            raise
        raise UserError(in_its_fields(cell.row.prm, str(error))) from error


def _guesses(run: CellRun) -> int | None:
    """Tokens that the target's engine is started to guess at a time; None where it does not."""
    plan = _planned(run)
    return plan.config.decoding.speculative_tokens if plan.proposer else None


def _prm(run: CellRun) -> PrmConfig | None:
    """The reward model that a cell's engines are started with; None where it asks no model."""
    config = _planned(run).config
    return config.models.prm if "prm" in config.roles else None


def _planned(run: CellRun) -> Plan:
    assert run.plan is not None
    return run.plan
