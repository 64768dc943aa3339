"""`stepwave report`: one HTML file of a run, an evaluation or a calibration."""

from __future__ import annotations

from typing import Any

from flows.interruption import say
from schemas.config import StorageConfig
from tasks.report import write_report
from tasks.store import Store

PATIENCE = 15.0
"""Seconds for which requests to a store that fails are tried again; short, because a person waits."""


def report(out: str, price: float | None, storage: StorageConfig) -> dict[str, Any]:
    """Write the report. Raises UserError as `write_report` does."""
    return {"output": out, "report": write_report(Store(out, storage, PATIENCE), price, say)}
