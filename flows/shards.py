"""A flow run of a fleet: one group's shards, then any shards that nobody has."""

from __future__ import annotations

from asyncio import to_thread
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from flows.lifecycle.at_work import RunAtWork
from flows.lifecycle.run import Work, fill
from flows.lifecycle.stages import Opaque, leave_out, plan_run, warning
from flows.prefect_api.server import outlast_server
from flows.terminal.interruption import watch_again
from flows.terminal.progress import current
from schemas.config import Config
from tasks.configuration.parsing import absolute
from tasks.engines import prepare
from tasks.generation.completion import OpenRun
from tasks.generation.engine_pool import SharedEngines
from tasks.generation.shard_groups import Share
from tasks.output.directory import RunDirectory
from tasks.output.session import open_session
from tasks.problems import survey_cache
from tasks.storage.stores import Stores
from tasks.telemetry.metering import Meters

Positive = Annotated[int, Field(ge=1)]


@flow(name="generate-shards", flow_run_name="shards {group}/{groups} of {config.output.path}", validate_parameters=True)
async def generate_shards(config: Config, group: Positive, groups: Positive) -> int:
    """Make the open shards of group `group` (from 1) of `groups`, then open ones of others that nobody has; returns how
    many were committed. Ends when no shard is open.

    `generate` starts these flow runs and writes the manifest. Each may be started any number of times, and beside any
    others. Raises as `generate` does.
    """
    watch_again()
    outlast_server()
    progress, meters, warn, log = current(), Meters(), warning(), get_run_logger()
    config = absolute(config)
    output = RunDirectory(Stores.of(config, warn).store(config.output.path))
    await to_thread(output.check_same, config)
    config = await to_thread(output.dated, config)
    if (run := await to_thread(output.run)) is None:
        log.info("no run is open at %s: nothing to do", output.store.path())
        return 0
    async with open_session(output.store, meters, flow_run.id or "", completes=False) as session:
        share = await to_thread(Share, output, run["shards"], group, groups, session)
        if not (mine := await to_thread(share.open_ones)):
            log.info("no shard is open: nothing to do")
            return 0
        prepare({config.model(role).engine.kind for role in config.roles})
        with meters.at("planning"):
            surveyed = Opaque(lambda key: survey_cache.load(output.store, key))
            plan = await plan_run(Opaque(config), Opaque(warn), surveyed=surveyed)
            plan = await leave_out(plan, output)
        await to_thread(output.check_same, config, plan.survey.fingerprint, plan.models)
        identity = await to_thread(output.identity, config, plan.survey.fingerprint, plan.models)
        for line in await to_thread(output.notes):
            warn(line)
        log.info("group %d of %d: %d open shards to begin with", group, groups, len(mine))

        solutions = sum(plan.usable_in(shard) for shard in mine) * config.decoding.samples
        async with SharedEngines([plan], progress.say, warn) as shared:
            working = RunAtWork(OpenRun(plan, output, identity), session)
            await fill(working, Work(mine, "solutions", solutions, more=share.more), shared)
        log.info("%d shards committed; no other is open", session.committed)
        return session.committed
