"""`stepwave status` of an evaluation, cell by cell, from its output alone."""

from __future__ import annotations

from typing import Any

from flows import status as of_run
from flows.terminal.text import aligned
from schemas.evaluation import EvaluationConfig
from tasks.configuration.parsing import parse
from tasks.errors import UserError
from tasks.evaluation.cells import lay_out
from tasks.output.kinds import EVALUATION, why_no_run
from tasks.storage.stores import Stores


def status(out: str, stores: Stores) -> dict[str, Any]:
    """A report for `lines`: the status of every cell that has begun. Raises UserError where `out` cannot be read."""
    store = stores.store(out)
    config = parse(EvaluationConfig, store.read(EVALUATION).decode("utf-8", "replace"), [], store.path(EVALUATION))
    cells = [
        {"benchmark": cell.benchmark, "name": cell.name, **_status(f"{out.rstrip('/')}/{cell.folder}", stores)}
        for cell in lay_out(config, {benchmark.name: benchmark.path for benchmark in config.benchmarks})
    ]
    states = {cell["state"] for cell in cells}
    whole = states <= {"complete"}
    return {
        "output": out,
        "state": "complete" if whole else "running" if "running" in states else "stopped",
        "cells": cells,
        "done": sum(cell["state"] == "complete" for cell in cells),
    }


def _status(out: str, stores: Stores) -> dict[str, Any]:
    """The status of one cell: `state` alone if its run has not begun."""
    store = stores.store(out)
    try:
        if store.read_or_none("config.yaml") is None:
            lost = why_no_run(store)
            return {"state": "open"} if lost is None else {"state": "damaged", "error": lost}
        return of_run.status(out, stores)
    except UserError as error:  # one that is damaged says nothing of the others
        return {"state": "damaged", "error": str(error)}


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    rows = [("output", f"{report['output']}: {report['state']}")]
    rows.append(("cells", f"{report['done']:,} of {len(report['cells']):,} done"))
    rows += [(f"{cell['name']} on {cell['benchmark']}", _cell(cell)) for cell in report["cells"]]
    return aligned(rows)


def _cell(cell: dict[str, Any]) -> str:
    if "solutions" not in cell:
        return cell.get("error", cell["state"])
    solutions, solved = cell["solutions"], cell["solved"]
    of_all = "" if solutions["total"] is None else f" of {solutions['total']:,}"
    text = f"{cell['state']}, {solutions['committed']:,}{of_all} solutions"
    if solved["of"]:
        text += f", {solved['correct'] / solved['of']:.1%} solved"
    text += f", {solutions['failed']:,} failed" if solutions["failed"] else ""
    text += f", {len(cell['damaged']):,} of its shards damaged" if cell["damaged"] else ""
    return text + (f"; not one run: {cell['mixed']}" if cell["mixed"] else "")
