"""`stepwave export`: a training dataset made of runs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from flows.terminal.interruption import Halt
from flows.terminal.text import aligned, say
from schemas.credentials import shown_key
from schemas.export import ExportOptions, Kind, resolved
from tasks.configuration.parsing import parse_storage
from tasks.errors import StoreError, UserError
from tasks.export.destination import Destination
from tasks.export.runs import open_runs
from tasks.storage.stores import Stores

if TYPE_CHECKING:
    from flows.lifecycle.missing_rewards import MissingRewards

OF_RUNS = ("models.prm.", "models.draft.", "models.target.", "run.")
"""Beginnings of the keys that can be set in the configurations of runs."""
OF_ENGINES = ("run.engine_restarts", "run.engine_patience", "run.batch_invariant")
"""Those of `run` that count where a PRM is asked."""
PATIENCE = 60.0
"""Seconds for which a store that fails is tried again."""


def export(
    kind: str,
    outs: list[str],
    dest: str,
    options: ExportOptions,
    stores: Stores,
    changes: Sequence[str] = (),
    halt: Halt | None = None,
) -> dict[str, Any]:
    """Make the dataset; returns a report for `lines`. Raises UserError for mistakes, before anything is written.

    `changes`: `dotted.key=value` for the runs' configurations, with which their PRMs are asked for missing rewards.
    `halt`: what interrupts the command.
    """
    try:
        options = resolved(kind, options)
    except ValueError as error:
        raise UserError(str(error)) from None
    _check_changes(changes, options)
    place = Destination(stores.store(dest), kind)
    if options.push is not None:
        from tasks.export import hub

        hub.check(options.push, kind)
    place.check()
    runs = open_runs(outs, stores, changes)
    for run in runs:
        if run.asked_before is not None:
            new = run.config.model("prm").model
            say(
                f"{run.address}: its rewards are from {run.asked_before}; {new} is taken for the same model in "
                f"another place"
            )
    from tasks.export.card import card, shared, shared_name
    from tasks.export.dataset import Export
    from tasks.export.estimates import open_rollouts

    rollouts = open_rollouts(options.rollouts or [], stores)
    with place.taken(), tempfile.TemporaryDirectory(prefix="stepwave-export-") as folder:
        place.check()
        try:
            with _missing_rewards(cast(Kind, kind), options, halt or Halt("")) as missing:
                made = Export(cast(Kind, kind), runs, options, folder, rollouts, missing).make(stores)
        except OSError as error:
            raise StoreError(f"{folder}: this temporary folder (TMPDIR) cannot hold the rows: {error}") from error
        if missing is not None:
            made.scored = missing.found
        name = dest.rstrip("/").rpartition("/")[2] or "dataset"
        text = card(cast(Kind, kind), name, runs, options, made, rollouts)
        report: dict[str, Any] = {
            "runs": [
                {
                    "run_id": run.run_id,
                    "shards": len(run.records),
                    "complete": run.manifest is not None,
                    **({"skipped": made.skipped[run.address]} if run.address in made.skipped else {}),
                    **({"scored": made.scored[run.address]} if run.address in made.scored else {}),
                }
                for run in runs
            ],
            "options": shared(options),
            "rows": made.rows,
            "problems": made.problems,
            "seen": made.seen,
            "left_out": made.left_out,
            "rollouts": [
                {"run_id": one.run.run_id, "steps": steps, "complete": one.run.manifest is not None}
                for one, steps in zip(rollouts, made.rolled_out, strict=True)
            ],
            "decontamination": [
                {"file": shared_name(b.name), "problems": b.problems, "found": b.found, "solutions": b.rows}
                for b in made.benchmarks
            ],
        }
        record = place.publish(made.files, text, report)
        pushed = None
        if options.push is not None:
            pushed = hub.push(options.push, kind, bool(options.public), made.files, text, record)
    read = [*runs, *(one.run for one in rollouts)]
    unfinished = {run.address: [len(run.records), run.shards] for run in read if run.manifest is None}
    return {"kind": kind, "output": dest, **report, "unfinished": unfinished, "pushed": pushed}


def read_changes(changes: Sequence[str]) -> tuple[Stores, list[str]]:
    """How stores are opened by the `--set` changes of storage, and the changes for the configurations of runs. Raises
    UserError for any other change."""
    of_runs = [change for change in changes if change.startswith(OF_RUNS)]
    storage = parse_storage([change for change in changes if change not in of_runs], OF_RUNS)
    return Stores(storage, PATIENCE), of_runs


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    seen = report["seen"]
    rows = [("read", f"{seen['problems']:,} problems, {seen['solutions']:,} solutions, {seen['attempts']:,} attempts")]
    rows += [("unfinished", _unfinished(out, *shards)) for out, shards in report["unfinished"].items()]
    rows += [("skipped", f"{run['run_id']}: {run['skipped']}") for run in report["runs"] if "skipped" in run]
    rows += [("scored", f"{run['run_id']}: {_scored(run['scored'])}") for run in report["runs"] if "scored" in run]
    rows += [("roll-outs", f"{one['run_id']}: of {one['steps']:,} steps") for one in report["rollouts"]]
    rows += [("left out", f"{count:,}  {reason}") for reason, count in report["left_out"].items()]
    rows += [
        ("decontaminated", f"{b['file']}: {b['found']:,} problems, {b['solutions']:,} solutions left out")
        for b in report["decontamination"]
    ]
    rows += [
        (split, f"{count:,} rows of {report['problems'][split]:,} problems") for split, count in report["rows"].items()
    ]
    rows.append(("dataset", report["output"]))
    if report["pushed"]:
        rows.append(("pushed to", report["pushed"]))
    return aligned(rows)


def _check_changes(changes: Sequence[str], options: ExportOptions) -> None:
    """Raises UserError where one would change nothing."""
    for change in changes:
        key = change.partition("=")[0].strip()
        setting = f"--set {shown_key(key.split('.'))}"
        if options.unscored is None or (options.unscored != "score" and key.startswith("run.")):
            raise UserError(f"{setting}: this export asks no PRM for rewards; leave it out")
        if key.startswith("run.") and key not in OF_ENGINES:
            raise UserError(
                f"{setting}: has no effect on how a PRM is asked; of run only {', '.join(OF_ENGINES)} have one"
            )


def _missing_rewards(kind: Kind, options: ExportOptions, halt: Halt) -> AbstractContextManager[MissingRewards | None]:
    if options.unscored is None:
        return nullcontext()
    from flows.lifecycle.missing_rewards import MissingRewards  # half a second

    return MissingRewards(kind, options.unscored == "score", halt)


def _scored(found: dict[str, Any]) -> str:
    """What became of steps without a reward."""
    if "silent" in found:
        return f"{found['silent_steps']:,} steps stay without a reward: {found['silent']}"
    asked, known = found["asked"], found["known"]
    text = f"{asked:,} steps asked now"
    if known:
        text = f"{text}, {known:,} known" if asked else f"{known:,} steps known"
        text += " from an earlier export"
    if found["none"]:
        text += (
            f"; {found['none']:,} stay without a reward (beyond the PRM's window, its engine failed on them, or it "
            "gave no number from 0 to 1)"
        )
    return text + ("; not kept, as the output cannot be written" if "not_kept" in found else "")


def _unfinished(out: str, done: int, shards: int | None) -> str:
    return f"{out}: only the {done:,} of {shards if shards else '?'} shards that are committed"
