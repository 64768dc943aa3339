"""A mistake in a flow run: its state and its log have the line that the command would print, and no traceback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prefect import Flow, flow, get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow

from flows.calibrate import calibrate
from flows.evaluate import evaluate
from flows.export_flow import export
from flows.generate import generate
from flows.prefect_api.recording import stage
from flows.rollouts import rollouts
from flows.shards import generate_shards
from schemas.config import Config
from tasks.calibration.recommendation import Wish
from tasks.errors import EngineError, FleetError, StoreError, UserError

Job = Callable[..., Config]
pytestmark = pytest.mark.usefixtures("prefect")


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def of(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line and not line.startswith("Finished in state")]


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)


def ended(of: Flow[..., Any], **parameters: Any) -> State:
    """As a worker's process runs it, with parameters that the server keeps."""

    async def run() -> State:
        async with get_client() as client:
            made = await client.create_flow_run(of, parameters=parameters)
        state = run_flow(of, flow_run=made, parameters=parameters, return_type="state")
        return await state if asyncio.iscoroutine(state) else state  # type: ignore[return-value]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("of", "parameters", "told"),
    [
        (generate, {"config": "nowhere.yaml"}, "nowhere.yaml"),
        (generate, {"config": {"input": {"path": "x"}}}, "models"),
        (evaluate, {"config": "nowhere.yaml"}, "nowhere.yaml"),
        (rollouts, {"out": "nowhere", "dest": "there"}, "nowhere"),
        (rollouts, {"out": "nowhere", "dest": "there", "options": {"sample": 1}}, "options: unknown sample"),
        (export, {"kind": "sft", "outs": ["nowhere"], "dest": "there"}, "nowhere"),
        (export, {"kind": "sfd", "outs": ["x"], "dest": "y"}, "kind: must be one of sft, step-dpo, dpo, prm"),
        (export, {"kind": "sft", "outs": [], "dest": "y"}, "outs: "),
        (export, {"kind": "sft", "outs": [3], "dest": "y"}, "outs: must be a path"),
        (export, {"kind": "sft", "outs": ["x"], "dest": "y", "options": {"margin": 1}}, "margin"),
        (export, {"kind": "sft", "outs": ["x"], "dest": "y", "changes": ["decoding.seed=1"]}, "decoding.seed"),
    ],
)
def test_of_a_flow(
    of: Flow[..., Any],
    parameters: dict[str, Any],
    told: str,
    log: Log,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    state = ended(of, **parameters)
    assert state.is_failed()
    assert state.message is not None
    assert "UserError: " in state.message
    assert told in state.message
    assert not log.of("Traceback")
    (line,) = log.of("UserError")
    assert line.startswith("UserError: ")
    assert len(line.splitlines()) == 1


def test_of_calibrate(job: Job, tmp_path: Path, log: Log) -> None:
    config, wish = job("decoding.method=target"), Wish("tolerance", 0.01)
    with pytest.raises(UserError, match="has no threshold to calibrate"):
        asyncio.run(calibrate(config, str(tmp_path / "c"), wish))
    assert len(log.of("UserError")) == 1
    assert not log.of("Traceback")


def test_of_shards(job: Job, out: Path, log: Log) -> None:
    assert ended(generate_shards, config=3, token="", group=0, groups=1).is_failed()
    assert not log.of("Traceback")


@pytest.mark.parametrize("kind", [UserError, StoreError, EngineError, FleetError])
def test_where_a_stage_of_it_finds_the_mistake(kind: type[Exception], log: Log) -> None:
    @stage("look", "look")
    async def look() -> None:
        raise kind("it is\nso")

    @flow
    async def looks() -> None:
        await look()

    assert ended(looks).is_failed()
    assert log.of(kind.__name__) == [f"{kind.__name__}: it is\\nso"]
    assert not log.of("Traceback")


def test_a_bug_keeps_its_traceback(log: Log) -> None:
    @flow
    async def broken() -> None:
        raise KeyError("x")

    assert ended(broken).is_failed()
    assert log.of("Traceback")


def test_a_dataset_is_made_by_a_deployment(job: Job, tmp_path: Path, generate: Callable[[Config], Any]) -> None:
    generate(job())
    options = {"answers": "any", "splits": "none", "status": ["finished", "max_tokens", "max_steps"]}
    dest = tmp_path / "data"
    state = ended(export, kind="sft", outs=str(tmp_path / "out"), dest=str(dest), options=options)
    assert state.is_completed(), state.message
    assert sum(pq.read_table(file).num_rows for file in dest.rglob("*.parquet")) > 0
