"""The main flow: problems in, solutions and per-step provenance out."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from prefect import flow

from flows.lifecycle.first_look import NOTHING_TO_DO
from flows.lifecycle.fleet import lead
from flows.lifecycle.run import run_to_completion
from flows.lifecycle.stages import READING, Opaque, leave_out, plan_run, warning
from flows.prefect_api import parameters, ui
from flows.prefect_api.recording import log
from flows.prefect_api.server import outlast_server
from flows.terminal.interruption import watch_again
from flows.terminal.progress import current
from schemas.config import Config
from tasks import report
from tasks.engines import prepare
from tasks.generation.engine_pool import SharedEngines
from tasks.generation.finished import finished
from tasks.output.directory import RunDirectory
from tasks.planning.cautions import cautions
from tasks.storage.stores import Stores
from tasks.telemetry.metering import Meters


# jobs.resolve validates the parameters, and tells mistakes in one line
@flow(name="generate", validate_parameters=False, on_crashed=[parameters.refuse_unknown])
async def generate(
    config: Config | str, retry_failed: bool = False, changes: list[str] | None = None
) -> dict[str, Any]:
    """Write solutions for every usable problem of `config.input`; returns the run's manifest.

    `config`: the configuration, or the path of its file (local or s3://), with `dotted.key=value` changes. Run again on
    the same output it goes on where it stopped; several on one output share its shards. With `retry_failed`, the rows
    of a finished run that failed are taken up again, and no others. Raises UserError for mistakes that the user can
    mend, StoreError and EngineError for faults that outlasted the run's patience.
    """
    watch_again()
    outlast_server()
    config = await parameters.resolve(Config, config, changes)
    await parameters.name(f"{config.decoding.method} to {config.output.path}")
    return await solve(config, retry_failed)


async def solve(config: Config, retry_failed: bool = False) -> dict[str, Any]:
    """The body of the flow, for other flows that contain a run."""
    progress, meters, warn = current(), Meters(), warning()
    output = RunDirectory(Stores.of(config, warn).store(config.output.path))
    await to_thread(output.check_same, config)
    config = await to_thread(output.dated, config)
    if (manifest := await to_thread(finished, config, output, retry_failed)) is not None:
        progress.say(NOTHING_TO_DO)
    elif config.run.workers is not None:
        manifest = await lead(config, output, meters, warn, retry_failed)
    else:
        if await to_thread(output.manifest) is None:
            prepare({config.model(role).engine.kind for role in config.roles})
        progress.say(READING)
        with meters.at("planning"):
            plan = await leave_out(await plan_run(Opaque(config), Opaque(warn)), output)
        for line in cautions(plan):
            warn(line)
        await ui.label_run(plan, output)
        log().info("%s usable problems in %s shards", plan.survey.usable, plan.shards)
        manifest = await run_to_completion(
            plan, output, lambda: SharedEngines([plan], progress.say, warn), meters, warn, retry_failed=retry_failed
        )
    await to_thread(report.keep, output.store, warn)
    await ui.summarize(manifest, config)
    return manifest
