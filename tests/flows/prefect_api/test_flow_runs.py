"""What a parent asks of Prefect: a server that is away is waited for, a pool without workers is told of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleets import Pool
from prefect.exceptions import PrefectHTTPStatusError

from flows.prefect_api.flow_runs import FlowRuns, connected
from schemas.config import Config
from tasks.errors import FleetError

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]


def asking(config: Config, told: list[str]) -> FlowRuns:
    return FlowRuns(None, config, told.append)  # type: ignore[arg-type]


def answers(*faults: Exception) -> Callable[[], Any]:
    left: Iterator[Exception] = iter(faults)

    async def act() -> str:
        if error := next(left, None):
            raise error
        return "an answer"

    return act


def status(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("GET", "http://server/api")
    return PrefectHTTPStatusError(f"it says {code}", request=request, response=httpx.Response(code, request=request))


async def test_a_server_that_is_away_is_asked_again_and_told_of(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.prefect_api.flow_runs.AGAIN", 0)
    told: list[str] = []
    act = answers(httpx.ConnectError("no route"), status(503), httpx.ReadTimeout(""))
    assert await asking(job(), told)._ask(act) == "an answer"
    assert told == [
        "Prefect's server: no route; flow runs go on, and it is asked again",
        "Prefect's server answers again",
    ]


async def test_a_server_that_stays_away_ends_the_parent(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.prefect_api.flow_runs.AGAIN", 0)
    act = answers(*[httpx.ConnectError("no route")] * 10_000)
    with pytest.raises(FleetError, match="Prefect's server: no route; tried again for"):
        await asking(job("run.store_patience=0.01"), [])._ask(act)


async def test_what_a_server_refuses_is_not_asked_again(job: Job) -> None:
    with pytest.raises(PrefectHTTPStatusError):
        await asking(job(), [])._ask(answers(status(404)))


def test_a_pool_without_workers_is_told_of(prefect: str, job: Job, tmp_path: Path) -> None:
    pool = Pool(prefect, tmp_path)
    told: list[str] = []

    async def asked() -> str:
        async with connected(job("run.workers=2", f"run.deployment={pool.deployment}"), told.append) as flow_runs:
            return await flow_runs.waiting_for(3)

    text = asyncio.run(asked())
    assert told == [f"work pool {pool.name} has no worker online: flow runs wait until one comes"]
    assert text == f"3 flow runs wait for a worker of work pool {pool.name}, where none is online"
