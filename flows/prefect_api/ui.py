"""What a person sees of a run in Prefect's UI. If the server does not accept something, it is left out and the run goes
on."""

from __future__ import annotations

import asyncio
import os
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from prefect import get_client
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.events import emit_event

from flows.prefect_api.recording import log, recorded
from flows.terminal import summary
from flows.terminal.progress import Progress
from schemas.config import Config
from tasks.errors import on_one_line
from tasks.generation.drift import Figure
from tasks.output.directory import RunDirectory
from tasks.output.kinds import PAGE
from tasks.planning.plan import Plan

PATIENCE = 5.0
"""Seconds that one request to Prefect's server may take."""
EVERY = 30.0
"""Seconds between two looks at the progress."""

T = TypeVar("T")


async def tell(what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
    """The answer of Prefect's server. None if there is no server. None, with a line in the log, if the server is away,
    slow, or refuses."""
    if not recorded():
        return None
    try:
        async with asyncio.timeout(PATIENCE):
            return await ask()
    except Exception as error:
        reason = on_one_line(f"{type(error).__name__} {error}".strip())
        log().warning("Prefect's server did not take %s (%s); the run goes on", what, reason)
        return None


async def label(*tags: str) -> None:
    """Add tags to the flow run, beside those that it has."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    run = context.flow_run
    run.tags = sorted({*run.tags, "stepwave", *tags})

    async def ask() -> None:
        async with get_client() as client:
            await client.update_flow_run(run.id, tags=run.tags)

    await tell("the flow run's tags", ask)


async def label_run(plan: Plan, output: RunDirectory) -> None:
    """The tags of a run."""
    identity = await to_thread(output.identity, plan.config, plan.survey.fingerprint, plan.models)
    await label(plan.config.decoding.method, f"run:{identity.run_id}")


async def show(key: str, markdown: str, description: str) -> None:
    """A markdown artifact."""
    await tell(
        f"the artifact {key}",
        lambda: acreate_markdown_artifact(markdown=markdown, key=key, description=description),
    )


@asynccontextmanager
async def progress_shown(progress: Progress, name: str) -> AsyncIterator[None]:
    """Keep a progress artifact while the block runs. It is renewed every EVERY seconds, and at the end, unless the run
    is interrupted."""
    artifact: UUID | None = None

    async def renew() -> None:
        nonlocal artifact
        if not progress.total:
            return
        share = min(100.0, 100 * progress.done / progress.total)
        description = f"{progress.done:,} of {progress.total:,} {progress.name}, {progress.note()} ({name})"
        if (known := artifact) is not None:
            await tell("the progress", lambda: aupdate_progress_artifact(known, share, description))
        else:
            artifact = await tell(
                "the progress", lambda: acreate_progress_artifact(share, "stepwave-progress", description)
            )

    async def renewing() -> None:
        while True:
            await renew()
            await asyncio.sleep(EVERY if progress.total else 1.0)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    task = asyncio.ensure_future(renewing())
    try:
        yield
    except Exception:
        await stop()
        await renew()
        raise
    else:
        await stop()
        await renew()
    finally:
        task.cancel()


async def summarize(manifest: dict[str, Any], config: Config) -> None:
    """Publish a run's summary, and a link to its report if a browser can open it."""
    description = f"Run {manifest['run_id']}"
    await show("stepwave-summary", summary.markdown(manifest, config.output.path), description)
    if link := address(config, PAGE):
        await tell(
            "the link to the report",
            lambda: acreate_link_artifact(link, "report", key="stepwave-report", description=description),
        )


def address(config: Config, key: str) -> str | None:
    """URL of a file of the output for a browser; None for a local file, or a store that wants credentials."""
    where, at = config.output.path, config.storage
    if not (where.startswith("s3://") and at.anonymous):
        return None
    given = at.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    server = given or f"https://s3.{at.region + '.' if at.region else ''}amazonaws.com"
    return f"{server.rstrip('/')}/{quote(where.removeprefix('s3://').rstrip('/'))}/{key}"


async def drifted(run_id: str, figures: list[Figure], event: str) -> None:
    """Publish figures outside their bands: an event for automations, and an artifact for a person."""
    values = {f.name: {"value": f.value, "low": f.low, "high": f.high, "problems": f.problems} for f in figures}
    drift_event(event, run_id, values)  # at once: the artifact has to wait for the server
    rows = ["| figure | here | band of the calibration | problems |", "|---|---|---|---|"]
    rows += [f"| {f.name} | {f.value:.4f} | {f.low:.4f} to {f.high:.4f} | {f.problems:,} |" for f in figures]
    await show("stepwave-drift", "\n".join([*(f"- {f}" for f in figures), "", *rows]), f"Run {run_id} drifts")


def drift_event(event: str, run_id: str, payload: dict[str, Any]) -> None:
    """An event about a run."""
    if not recorded():
        return
    resource = {"prefect.resource.id": f"stepwave.run.{run_id}", "prefect.resource.name": run_id}
    emit_event(event, resource=resource, payload=payload)
