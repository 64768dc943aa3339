"""Prefect's server goes away while a run lasts, and past its end: the run does not care, and its end is told later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from campaign import same_as_undisturbed, started, until
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES
from relay import Relay

from flows.prefect_api.server import RETRIES, outlast_server

pytestmark = pytest.mark.tier2

SLOW = [f"models.{role}.engine.seconds=0.05" for role in ("draft", "target", "prm")]


def test_a_run_outlasts_the_server_and_tells_how_it_ended(
    prefect: str, command: Callable[..., list[str]], undisturbed: Callable[..., Path], out: Path, tmp_path: Path
) -> None:
    words = command(*SLOW)
    with (
        Relay(urlsplit(prefect).port or 0) as relay,
        started(words, tmp_path / "log", {"PREFECT_API_URL": f"http://127.0.0.1:{relay.port}/api"}) as process,
    ):
        assert until(process, lambda: any(out.glob("shards/*.json")))
        relay.cut()
        assert until(process, (out / "manifest.json").exists)
        assert process.popen.poll() is None
        relay.mend()
        process.ends()
    same_as_undisturbed(out, undisturbed())
    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(like_=str(out))))
    assert run.state_name == "Completed"
    assert run.start_time
    assert json.loads((out / "manifest.json").read_text())["counts"]["solutions"]


def test_the_request_that_tells_of_the_end_is_tried_again_for_minutes(prefect: str) -> None:
    seen = []

    def ended(*_: object) -> None:
        seen.append(PREFECT_CLIENT_MAX_RETRIES.value())

    @flow(on_completion=[ended])
    async def short() -> None:
        outlast_server()

    asyncio.run(short())
    assert seen == [RETRIES]
