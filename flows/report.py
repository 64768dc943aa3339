"""`stepwave report`: one HTML file of a run, an evaluation or a calibration."""

from __future__ import annotations

from typing import Any

from flows import evaluation_status
from flows.terminal.text import say
from tasks.output.kinds import is_evaluation
from tasks.report import write_report
from tasks.storage.stores import Stores

NAMED = 5
"""Runs that are told one by one."""


def report(out: str, price: float | None, stores: Stores) -> dict[str, Any]:
    """Write the report. Raises UserError as `write_report` does. A line names the runs of an evaluation that are
    missing."""
    store = stores.store(out)
    written = write_report(store, price, say)
    if is_evaluation(store):
        cells = evaluation_status.status(out, stores)["cells"]
        if away := [f"{cell['name']} on {cell['benchmark']}" for cell in cells if cell["state"] == "open"]:
            named = ", ".join(away[:NAMED]) + (", ..." if len(away) > NAMED else "")
            say(f"the report lacks {len(away):,} of {len(cells):,} runs, which did not begin or were moved: {named}")
    return {"output": out, "report": written}
