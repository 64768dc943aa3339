"""`stepwave status` of an evaluation, cell by cell, from its output alone."""

from __future__ import annotations

from typing import Any

from flows import status as of_run
from flows.terminal.text import aligned
from schemas.config import StorageConfig
from schemas.evaluation import EvaluationConfig
from tasks.configuration.parsing import parse
from tasks.errors import UserError
from tasks.evaluation.cells import lay_out
from tasks.output.kinds import EVALUATION, told_of
from tasks.storage.store import Store


def is_evaluation(out: str, storage: StorageConfig) -> bool:
    """True if `out` holds an evaluation and no run. Raises StoreError where the store does not answer."""
    store = Store(out, storage, of_run.PATIENCE)
    return store.read_or_none("config.yaml") is None and store.read_or_none(EVALUATION) is not None


def status(out: str, storage: StorageConfig) -> dict[str, Any]:
    """A report for `lines`: the status of every cell that has begun. Raises UserError where `out` cannot be read."""
    store = Store(out, storage, of_run.PATIENCE)
    config = parse(EvaluationConfig, store.read(EVALUATION).decode("utf-8", "replace"), [], store.path(EVALUATION))
    cells = [
        {"benchmark": cell.benchmark, "name": cell.name, **_status(f"{out.rstrip('/')}/{cell.folder}", storage)}
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


def _status(out: str, storage: StorageConfig) -> dict[str, Any]:
    """One cell's; `state` alone where its run has not begun."""
    store = Store(out, storage, of_run.PATIENCE)
    try:
        if store.read_or_none("config.yaml") is None:
            lost = told_of(store)
            return {"state": "open"} if lost is None else {"state": "damaged", "error": lost}
        return of_run.status(out, storage)
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
