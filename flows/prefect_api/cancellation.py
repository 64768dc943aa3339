"""A cancelled flow run ends even if its worker cannot end it: a worker that was killed, or one that stopped looking
while Prefect's server was away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import Cancelled

EVERY = 30.0
"""Seconds between looks. A healthy worker ends a cancelled flow run before the second look."""


@asynccontextmanager
async def heeded() -> AsyncIterator[None]:
    """Stop the block when the flow run is cancelled: it ends as any cancelled task does, then as Prefect's Abort.

    Flow runs that no deployment started are left to the terminal in which they run.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        yield
        return
    run, task, stopped = context.flow_run.id, asyncio.current_task(), False
    assert task is not None

    async def watch() -> None:
        nonlocal stopped
        await _cancelled(run)
        stopped = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
        task.uncancel()
        async with get_client() as client:
            ended: State[None] = Cancelled(message="Cancelled; what was committed or checkpointed is kept.")
            await client.set_flow_run_state(run, ended, force=True)
        raise Abort("the flow run was cancelled") from None
    finally:
        watching.cancel()


async def _cancelled(run: UUID) -> None:
    """Returns when a flow run is being cancelled at two looks in a row."""
    looks = 0
    while looks < 2:
        await asyncio.sleep(EVERY)
        with contextlib.suppress(Exception):  # a server that is away is asked again
            async with get_client() as client:
                state = (await client.read_flow_run(run)).state
            looks = looks + 1 if state is not None and state.is_cancelling() else 0
