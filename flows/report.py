"""`stepwave report`: one HTML file of a run, an evaluation or a calibration."""

from __future__ import annotations

from typing import Any

from flows import evaluation_status
from flows.terminal.interruption import say
from schemas.config import StorageConfig
from tasks.report import write_report
from tasks.storage.store import Store

PATIENCE = 15.0
"""Seconds for which requests to a store that fails are tried again; short, because a person waits."""

NAMED = 5
"""Runs that are told one by one."""


def report(out: str, price: float | None, storage: StorageConfig) -> dict[str, Any]:
    """Write the report. Raises UserError as `write_report` does. Runs of an evaluation that are not there are told."""
    written = write_report(Store(out, storage, PATIENCE), price, say)
    if evaluation_status.is_evaluation(out, storage):
        cells = evaluation_status.status(out, storage)["cells"]
        if away := [f"{cell['name']} on {cell['benchmark']}" for cell in cells if cell["state"] == "open"]:
            named = ", ".join(away[:NAMED]) + (", ..." if len(away) > NAMED else "")
            say(f"the report lacks {len(away):,} of {len(cells):,} runs, which did not begin or were moved: {named}")
    return {"output": out, "report": written}
