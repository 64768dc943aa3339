"""`stepwave check` of an evaluation. Loads no weights and writes nothing."""

from __future__ import annotations

import tempfile
from typing import Any

from flows.check import check_show, engines_of, output_can_be_written, prompts_of, size_of
from flows.terminal.text import aligned
from schemas.evaluation import EvaluationConfig
from tasks.engines.devices import planned
from tasks.engines.opinion import check_arguments
from tasks.engines.spec import EngineSpec
from tasks.evaluation.benchmarks import FOLDER, problem_sets
from tasks.evaluation.cell_runs import (
    CellRun,
    check_place,
    in_groups,
    make_plans,
    of_engines,
    of_its_day,
    open_cells,
    telling,
)
from tasks.planning.cautions import of_evaluation
from tasks.planning.plan import Plan
from tasks.planning.prompts_shown import shown
from tasks.storage.store import Store
from tasks.storage.stores import WAITED_FOR, Stores


def check(config: EvaluationConfig, gpus: list[int] | None = None, show: int | None = None) -> dict[str, Any]:
    """A report for `lines`, or a UserError that names the mistake. `gpus`, `show`: as for a run's check."""
    check_show(show)
    with planned(gpus), tempfile.TemporaryDirectory(prefix="stepwave-check-") as folder:
        stores = Stores.of(config)
        store = stores.store(config.output.path)
        output_can_be_written(config)
        config = of_its_day(config, check_place(config, store))
        runs = _works(config, store, stores.store(folder))
        groups = in_groups(runs)
        if gpus is None:
            _check_arguments(groups)
        return _report(config, runs, groups, show)


def _works(config: EvaluationConfig, store: Store, scratch: Store) -> list[CellRun]:
    """The cells, planned. Benchmarks' own files become problem sets in `scratch`, beside those that were made."""
    for key in store.keys(FOLDER):
        scratch.write(key, store.read(key))
    runs = open_cells(config, store, problem_sets(config, scratch))
    make_plans(config, runs, lambda text: None)
    return runs


def _check_arguments(groups: list[list[CellRun]]) -> None:
    """Raises UserError if vLLM refuses the arguments with which engines of a group would be started."""
    for group in groups:
        specs: dict[str, EngineSpec] = {}
        given: dict[str, set[str]] = {}
        for run in group:
            assert run.plan is not None
            config = run.plan.config
            specs |= {spec.role: spec for spec in run.plan.engines}
            given |= {role: set(config.model(role).engine.arguments) for role in config.engine_roles}
        with telling(of_engines(group)):
            check_arguments(specs.values(), given)


def _report(
    config: EvaluationConfig, runs: list[CellRun], groups: list[list[CellRun]], show: int | None
) -> dict[str, Any]:
    plans: dict[str, Plan] = {}
    for run in runs:
        assert run.plan is not None
        if len(run.plan.roles) > len(plans[run.cell.benchmark].roles if run.cell.benchmark in plans else ()):
            plans[run.cell.benchmark] = run.plan  # that with most roles, for its prompts
    prompts = (
        {}
        if show is None
        else {"shown": [one for of in plans.values() for one in shown(of, Stores(config.storage, WAITED_FOR), show)]}
    )
    return prompts | {
        "benchmarks": {
            name: {
                "problems": plan.survey.usable,
                "rows": plan.survey.rows,
                "rejected": plan.survey.rejected(),
            }
            for name, plan in plans.items()
        },
        "methods": [method.name for method in config.methods],
        "seeds": list(config.seeds),
        "cells": [{"benchmark": run.cell.benchmark, "name": run.cell.name, "state": _state(run)} for run in runs],
        "starts": [_engines(group) for group in groups],
        "day": next((run.plan.day for run in runs if run.plan and run.plan.day), None),
        "output": config.output.path,
        "warnings": of_evaluation([run.plan for run in runs if run.plan]),
    }


def _engines(group: list[CellRun]) -> dict[str, dict[str, Any]]:
    """Those that are started once for a group of cells, by role."""
    found: dict[str, dict[str, Any]] = {}
    for run in group:
        assert run.plan is not None
        found |= engines_of(run.plan)
    return found


def _state(run: CellRun) -> str:
    return "done" if run.done else "begun" if run.begun else "open"


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    rows = []
    for name, of in report["benchmarks"].items():
        rows.append((name, f"{of['problems']:,} problems"))
        rows += [("", f"rejected: {count:,} rows: {reason}") for reason, count in of["rejected"].items()]
    rows.append(("methods", ", ".join(report["methods"])))
    if len(report["seeds"]) > 1:
        rows.append(("seeds", ", ".join(map(str, report["seeds"]))))
    states = [cell["state"] for cell in report["cells"]]
    rows.append(("cells", f"{len(states):,}, of which {states.count('done'):,} are done"))
    for number, engines in enumerate(report["starts"], 1):
        of_several = f" {number}" if len(report["starts"]) > 1 else ""
        for role, engine in engines.items():
            where = f" on {engine['device']}" if engine["device"] else ""
            cache = f", cache {size_of(engine['cache_bytes'])}" if engine["cache_bytes"] else ""
            weights = f"weights {size_of(engine['weight_bytes'])}"
            rows.append((f"engines{of_several}", f"{role}: {engine['model']}{where}, {weights}{cache}"))
    if (day := report["day"]) is not None:
        rows.append(("prompts", f"a chat template writes the date: {day} for all cells (prompt.date)"))
    rows.append(("output", report["output"]))
    rows += [("warning", text) for text in report["warnings"]]
    return aligned(rows) + prompts_of(report.get("shown"))
