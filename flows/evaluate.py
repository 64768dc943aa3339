"""`stepwave evaluate`: methods compared on benchmarks. Every cell is an ordinary run, on engines that all share."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact

from flows.lifecycle.run import run_to_completion
from flows.lifecycle.stages import Opaque, warning
from flows.prefect_api import parameters, ui
from flows.prefect_api.recording import stage
from flows.prefect_api.server import outlast_server
from flows.terminal.interruption import watch_again
from flows.terminal.progress import current
from schemas.evaluation import EvaluationConfig
from tasks import report
from tasks.engines import prepare
from tasks.errors import on_one_line
from tasks.evaluation import pages
from tasks.evaluation.cell_runs import CellRun, begin, in_groups, make_plans, telling
from tasks.evaluation.cells import namesakes, repeats
from tasks.evaluation.results import read_result
from tasks.evaluation.table import table
from tasks.generation.engine_pool import SharedEngines
from tasks.output.kinds import PAGE
from tasks.planning.cautions import of_evaluation
from tasks.storage.stores import Stores
from tasks.telemetry.metering import Meters

LISTED = 12
"""Cells that are named at the start."""


# jobs.resolve validates the parameters, and tells mistakes in one line
@flow(name="evaluate", validate_parameters=False, on_crashed=[parameters.refuse_unknown])
async def evaluate(config: EvaluationConfig | str, changes: list[str] | None = None) -> dict[str, Any]:
    """Run every method on every benchmark and compare them; returns the table's rows and where it is written.

    `config`: the configuration, or the path of its file (local or s3://), with `dotted.key=value` changes. Run again on
    the same output, it does what is not done yet, with methods, thresholds, seeds, benchmarks or reward models that
    were added. Raises UserError for mistakes before anything is loaded, otherwise as `generate` does.
    """
    watch_again()
    outlast_server()
    await ui.label("evaluate")
    progress, warn = current(), warning()
    config = await parameters.resolve(EvaluationConfig, config, changes)
    await parameters.name(f"evaluation {config.output.path}")
    store = Stores.of(config, warn).store(config.output.path)
    progress.say("reading the benchmarks and the models' configurations")
    runs = await to_thread(begin, config, store)
    if not all(run.done for run in runs):
        configs = [run.cell.config for run in runs]
        prepare({str(config.model(role).engine.kind) for config in configs for role in config.roles})
    await look_at(Opaque(config), Opaque(runs), Opaque(warn))
    for line in outlook(config, runs):
        progress.say(line)
    for line in of_evaluation([run.plan for run in runs if run.plan and not run.done]):
        warn(line)

    for group in in_groups(runs):
        await run_group(group, runs, warn)

    found = await compare(Opaque(runs), Opaque(store))
    await to_thread(report.renew, store, warn)
    rows = found.to_pylist()
    await ui.tell(
        "the table",
        lambda: acreate_table_artifact(key="stepwave-evaluation-table", table=rows, description=store.path()),
    )
    text = f"{pages.markdown(found)}\n\nReport: `{on_one_line(store.path(PAGE))}`"
    await ui.show("stepwave-evaluation", text, f"Evaluation {store.path()}")
    return {
        "output": store.path(),
        "cells": [{"benchmark": w.cell.benchmark, "name": w.cell.name, "failed": failed(w)} for w in runs],
        "failed": sum(failed(run) for run in runs),
        "table": rows,
        "text": pages.lines(found),
    }


async def run_group(group: list[CellRun], runs: list[CellRun], warn: Callable[[str], None]) -> None:
    """Complete cells one after another, on engines that start once."""
    progress = current()
    async with SharedEngines([run.plan for run in group if run.plan], progress.say, warn) as engines:
        for run in group:
            assert run.plan is not None
            place = f"{runs.index(run) + 1} of {len(runs)}"
            progress.say(f"cell {place}: {run.cell}")
            with telling(run.cell):
                run.manifest = await run_to_completion(
                    run.plan, run.output, lambda: nullcontext(engines), Meters(), warn, f"solutions of {run.cell}"
                )


def outlook(config: EvaluationConfig, runs: list[CellRun]) -> list[str]:
    """What will be done, in a few lines."""
    open_ = [run for run in runs if not run.done]
    names = [f"{run.cell}{' (begun)' if run.begun else ''}" for run in open_]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    lines = [f"{len(runs)} cells, of which {len(runs) - len(open_)} are done"]
    if names:
        lines.append(f"open: {', '.join(names[:LISTED])}{more}")
    if once := repeats(config):
        lines.append(f"with seed {config.seeds[0]} only, because they are greedy: {', '.join(once)}")
    return lines


def failed(run: CellRun) -> int:
    """Solutions that failed."""
    assert run.manifest is not None
    return int(run.manifest["counts"]["failed"])


@stage("plan", "plan the evaluation")
async def look_at(config: Opaque, runs: Opaque, warn: Opaque) -> None:
    """Look at the input and the models of every cell, and complete `runs`. Raises UserError for mistakes."""
    await to_thread(make_plans, config.value, runs.value, warn.value)


@stage("compare", "compare the methods")
async def compare(runs: Opaque, store: Opaque) -> Any:
    """Write the table and its pages; returns the table. Raises UserError where a table of a cell cannot be read."""

    def made() -> Any:
        results = [read_result(run.cell, run.manifest, run.output) for run in runs.value]
        found = table(results, namesakes([run.cell for run in runs.value]))
        pages.write(found, store.value)
        return found

    return await to_thread(made)
