"""`export` as a Prefect flow, for deployments: a training dataset made of runs when they are there."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows import export as exporting
from flows.prefect_api import parameters
from flows.prefect_api.recording import log
from schemas.export import KINDS, ExportOptions
from tasks.errors import UserError


# what is given is read in the flow, which tells mistakes in one line
@flow(
    name="export",
    flow_run_name="export {kind} to {dest}",
    validate_parameters=False,
    on_crashed=[parameters.refuse_unknown],
)
def export(
    kind: str,
    outs: list[str] | str,
    dest: str,
    options: ExportOptions | dict[str, Any] | None = None,
    changes: list[str] | None = None,
) -> dict[str, Any]:
    """Make a training dataset of the runs whose outputs are `outs`; returns a report for `flows.export.lines`.

    `kind`: sft, step-dpo, dpo or prm. `outs`, `dest`: paths, in which `{date}` and `{time}` are filled in. `options`:
    ExportOptions, or a mapping with some of its fields. `changes`: `dotted.key=value` as `--set` of the command takes
    them. Raises UserError for mistakes, before anything is written.
    """
    if kind not in KINDS:
        raise UserError(f"kind: must be one of {', '.join(KINDS)}")
    given = [outs] if isinstance(outs, str) else outs
    if not isinstance(given, list) or not given:
        raise UserError("outs: must be the output of a run, or a list of several")
    paths = [parameters.path("outs", out) for out in given]
    wanted = parameters.options(ExportOptions, options)
    stores, of_runs = exporting.read_changes(parameters.listed(changes))
    report = exporting.export(kind, paths, parameters.path("dest", dest), wanted, stores, of_runs)
    for line in exporting.lines(report):
        log().info("%s", line)
    return report
