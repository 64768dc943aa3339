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
class Work:
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


def begin(config: EvaluationConfig, store: Store) -> list[Work]:
    """The cells, in an output that is the evaluation's own. Raises UserError where it holds something else, or a cell
    of it is a run of another configuration."""
    there = check_place(config, store)
    config = of_its_day(config, there)
    now = HEADER + dump_config(config).encode()
    if there is None:
        store.create(EVALUATION, now)
    works = open_cells(config, store, problem_sets(config, store))
    if there != now:
        store.write(EVALUATION, now)
    return works


def check_place(config: EvaluationConfig, store: Store) -> bytes | None:
    """What stands in the output's configuration; None where there is none yet. Raises UserError where the output is not
    the evaluation's own."""
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


def open_cells(config: EvaluationConfig, store: Store, problems: dict[str, str]) -> list[Work]:
    """The cells with their runs. `problems`: benchmark to its problem set. Raises UserError as `begin` raises it."""
    works, stores = [], Stores.of(config, store.retry.say)
    for cell in lay_out(config, problems):
        output = RunDirectory(stores.store(cell.config.output.path))
        with telling(cell):
            output.check_same(cell.config)
        works.append(Work(cell, output, output.manifest()))
    return works


def of_its_day(config: EvaluationConfig, there: bytes | None) -> EvaluationConfig:
    """With the day that prompts are of: that of the evaluation that has begun in the output, or today."""
    return on_day(config, _day_of(there) or today())


def _day_of(evaluation: bytes | None) -> date | None:
    """The day that prompts are of in an evaluation that has begun."""
    with contextlib.suppress(UserError, LookupError, TypeError, ValueError):
        found = read_yaml((evaluation or b"").decode("utf-8", "replace"), EVALUATION)["prompt"]["date"]
        return found if found is None else date.fromisoformat(str(found))
    return None  # of an older release, or damaged, as cells will tell


def look(config: EvaluationConfig, works: list[Work], say: Say) -> None:
    """Look at the models and problem sets, and at how far each cell is. Raises UserError, naming the field."""
    fields = {benchmark.name: f"benchmarks.{n}.path" for n, benchmark in enumerate(config.benchmarks)}
    seen = Seen()
    for work in works:
        try:
            work.plan = make_plan(work.cell.config, say, seen)
        except UserError as error:
            told = str(error)
            if not told.startswith(("models", "run.")):
                told = f"{fields[work.cell.benchmark]}: {told.removeprefix('input.path: ')}"
            raise UserError(in_its_fields(work.cell.row.prm, told)) from error
        with telling(work.cell):
            work.output.check_same(work.cell.config, work.plan.survey.fingerprint, work.plan.models)
        records = work.output.records()
        with telling(work.cell):
            work.output.check_whole(records, work.plan.models)
        work.begun = work.output.run() is not None
        if work.manifest is not None and records.open(work.plan.shards, work.manifest["retries"]):
            work.manifest = None  # something is missing or damaged: it is made again


def in_groups(works: list[Work]) -> list[list[Work]]:
    """Open cells whose runs can share engines, each group with the plan of these engines."""
    groups: dict[Any, list[Work]] = {}
    open_ = [work for work in works if not work.done]
    first = next((prm for work in open_ if (prm := _prm(work)) is not None), None)
    for work in open_:
        # what asks no reward model can do beside any
        groups.setdefault((_guesses(work), _prm(work) or first), []).append(work)
    for group in groups.values():
        with telling(of_engines(group)):
            plans = share_engines([_planned(work) for work in group])
        for work, plan in zip(group, plans, strict=True):
            work.plan = plan
    return list(groups.values())


def of_engines(group: list[Work]) -> Cell:
    """The cell whose reward model a group's engines are started with; the first where no cell asks any."""
    return next((work for work in group if _prm(work)), group[0]).cell


@contextmanager
def telling(cell: Cell) -> Iterator[None]:
    """Mistakes are told by the fields of the evaluation."""
    try:
        yield
    except UserError as error:
        if cell.row.prm is None:
            raise
        raise UserError(in_its_fields(cell.row.prm, str(error))) from error


def _guesses(work: Work) -> int | None:
    """Tokens that the target's engine is started to guess at a time; None where it does not."""
    plan = _planned(work)
    return plan.config.decoding.speculative_tokens if plan.proposer else None


def _prm(work: Work) -> PrmConfig | None:
    """The reward model that a cell's engines are started with; None where it asks no model."""
    config = _planned(work).config
    return config.models.prm if "prm" in config.roles else None


def _planned(work: Work) -> Plan:
    assert work.plan is not None
    return work.plan
