"""Flow runs that are cancelled where no worker sees to it."""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow_async
from prefect.states import Cancelling

from flows.prefect_api import cancellation


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "EVERY", 0.05)


def test_one_that_is_cancelled_stops_and_is_cancelled(prefect: str) -> None:
    begun, stopped = asyncio.Event(), []

    @flow
    async def endless() -> None:
        async with cancellation.heeded():
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(True)

    async def scene() -> str:
        async with get_client() as client:
            run = await deployed(client, endless)
            running = asyncio.ensure_future(run_flow_async(endless, flow_run=run))
            await begun.wait()
            await client.set_flow_run_state(run.id, Cancelling())
            with pytest.raises(Abort):
                await running
            return str((await client.read_flow_run(run.id)).state_name)

    assert asyncio.run(scene()) == "Cancelled"
    assert stopped == [True]


def test_one_that_nobody_cancels_is_left_alone(prefect: str) -> None:
    @flow
    async def short() -> int:
        async with cancellation.heeded():
            await asyncio.sleep(0.3)
        return 7

    async def scene() -> int:
        async with get_client() as client:
            return await run_flow_async(short, flow_run=await deployed(client, short))

    assert asyncio.run(scene()) == 7


async def deployed(client: PrefectClient, flow: object) -> FlowRun:
    """A flow run that a deployment started."""
    deployment = await client.create_deployment(await client.create_flow(flow), name="stepwave")
    return await client.create_flow_run_from_deployment(deployment)
