"""Monte-Carlo roll-outs: steps of a run, each gone on from several times by an ordinary run of its own."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from prefect import flow

from flows.generate import solve
from flows.lifecycle.stages import Opaque, warning
from flows.prefect_api import parameters, ui
from flows.prefect_api.recording import stage
from flows.prefect_api.server import outlast_server
from flows.terminal import summary
from flows.terminal.interruption import watch_again
from flows.terminal.progress import current
from flows.terminal.text import aligned
from schemas.rollouts import RolloutOptions
from tasks.errors import UserError
from tasks.export.rollouts import request as rolling


# jobs.path and jobs.options validate the parameters, and tell mistakes in one line
@flow(name="rollouts", validate_parameters=False, on_crashed=[parameters.refuse_unknown])
async def rollouts(
    out: str, dest: str, options: RolloutOptions | dict[str, Any] | None = None, changes: list[str] | None = None
) -> dict[str, Any]:
    """Roll out steps of the run whose output is `out`; returns a report for `lines`.

    `options`: RolloutOptions, or a mapping with some of its fields. `changes`: `dotted.key=value` for the configuration
    of the run that writes the roll-outs, `dest`/run. Run again with the same `out` and `dest` it goes on where it
    stopped. Raises UserError for mistakes before anything is loaded, otherwise as `generate` does.
    """
    watch_again()
    outlast_server()
    await ui.label("rollouts")
    warn = warning()
    out, dest = parameters.path("out", out), parameters.path("dest", dest)
    work = await to_thread(
        rolling.read_request, out, dest, parameters.options(RolloutOptions, options), parameters.listed(changes), warn
    )
    await parameters.name(f"roll-outs to {dest}")
    current().say(f"choosing steps of {out}")
    record = await choose_steps(Opaque(work))
    chosen = record["chosen"]
    current().say(f"{chosen['steps']:,} steps, {work.options.samples} roll-outs of each")
    try:
        manifest = await solve(work.config)
    except UserError as error:
        raise UserError(str(error).replace("give another output.path", "give another DEST")) from error
    estimates = await to_thread(rolling.estimates, work)
    return {"output": dest, **record, "estimates": estimates, "run": manifest}


@stage("choose", "choose steps")
async def choose_steps(work: Opaque) -> dict[str, Any]:
    """Choose the steps and write them as a problem set; returns what was chosen. Raises UserError where none is
    left."""
    return await to_thread(rolling.choose_steps, work.value)


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    chosen, found, shards = report["chosen"], report["estimates"], report["shards"]
    rows = [("of run", report["of"]["run_id"])]
    if not shards["whole"]:
        taken = f"{len(shards['taken']):,} of {shards['of'] or '?'} shards"
        rows.append(("unfinished", f"only the {taken} that were committed"))
    rows.append(
        ("steps", f"{chosen['steps']:,} of {chosen['attempts']:,} attempts, of {chosen['problems']:,} problems")
    )
    rows += [("left out", f"{count:,}  {reason}") for reason, count in chosen["left_out"].items()]
    parts = [f"{name.removesuffix('_right')} of {count:,} steps" for name, count in found.items()]
    rows.append(("roll-outs right", ", ".join(parts)))
    rows += [row for row in summary.table(report["run"]) if row[0] != "problems"]
    where = report["output"].rstrip("/")
    rows.append(("output", f"{where}: an ordinary run in run/; labels with `export prm --rollouts {where}`"))
    return aligned(rows)
