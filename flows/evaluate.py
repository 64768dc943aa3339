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
from tasks.evaluation.cells import namesakes, repeats
from tasks.evaluation.results import read_result
from tasks.evaluation.table import table
from tasks.evaluation.work import Work, begin, in_groups, look, telling
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
    works = await to_thread(begin, config, store)
    if not all(work.done for work in works):
        configs = [work.cell.config for work in works]
        prepare({str(config.model(role).engine.kind) for config in configs for role in config.roles})
    await look_at(Opaque(config), Opaque(works), Opaque(warn))
    for line in outlook(config, works):
        progress.say(line)
    for line in of_evaluation([work.plan for work in works if work.plan and not work.done]):
        warn(line)

    for group in in_groups(works):
        await run_group(group, works, warn)

    found = await compare(Opaque(works), Opaque(store))
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
        "cells": [{"benchmark": w.cell.benchmark, "name": w.cell.name, "failed": failed(w)} for w in works],
        "failed": sum(failed(work) for work in works),
        "table": rows,
        "text": pages.lines(found),
    }


async def run_group(group: list[Work], works: list[Work], warn: Callable[[str], None]) -> None:
    """Complete cells one after another, on engines that start once."""
    progress = current()
    async with SharedEngines([work.plan for work in group if work.plan], progress.say, warn) as engines:
        for work in group:
            assert work.plan is not None
            place = f"{works.index(work) + 1} of {len(works)}"
            progress.say(f"cell {place}: {work.cell}")
            with telling(work.cell):
                work.manifest = await run_to_completion(
                    work.plan, work.output, lambda: nullcontext(engines), Meters(), warn, f"solutions of {work.cell}"
                )


def outlook(config: EvaluationConfig, works: list[Work]) -> list[str]:
    """What will be done, in a few lines."""
    open_ = [work for work in works if not work.done]
    names = [f"{work.cell}{' (begun)' if work.begun else ''}" for work in open_]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    lines = [f"{len(works)} cells, of which {len(works) - len(open_)} are done"]
    if names:
        lines.append(f"open: {', '.join(names[:LISTED])}{more}")
    if once := repeats(config):
        lines.append(f"with seed {config.seeds[0]} only, because they are greedy: {', '.join(once)}")
    return lines


def failed(work: Work) -> int:
    """Solutions that failed."""
    assert work.manifest is not None
    return int(work.manifest["counts"]["failed"])


@stage("plan", "plan the evaluation")
async def look_at(config: Opaque, works: Opaque, warn: Opaque) -> None:
    """Look at the input and the models of every cell, and complete `works`. Raises UserError for mistakes."""
    await to_thread(look, config.value, works.value, warn.value)


@stage("compare", "compare the methods")
async def compare(works: Opaque, store: Opaque) -> Any:
    """Write the table and its pages; returns the table. Raises UserError where a table of a cell cannot be read."""

    def made() -> Any:
        results = [read_result(work.cell, work.manifest, work.output) for work in works.value]
        found = table(results, namesakes([work.cell for work in works.value]))
        pages.write(found, store.value)
        return found

    return await to_thread(made)
