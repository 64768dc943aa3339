"""What deployments hand to flows: a configuration or its file's path, changes, and paths with the scheduled time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import boto3
import pytest
import yaml
from prefect import Flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Scheduled

from flows.generate import generate
from schemas.config import Config

Job = Callable[..., Config]
DUE = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


def written(config: Config, **paths: str) -> dict[str, Any]:
    """A configuration as a person writes it into a deployment."""
    values = config.model_dump(mode="json", exclude_unset=True)
    return values | {section: {"path": path} for section, path in paths.items()}


async def started(times: int, of: Flow[..., Any] = generate, **parameters: Any) -> FlowRun:
    """A flow run scheduled for DUE, with parameters as a server keeps them; started again after a crash each time."""
    async with get_client() as client:
        made = await client.create_flow_run(of, parameters=parameters, state=Scheduled(scheduled_time=DUE))
        for again in range(times):
            if again:
                await client.set_flow_run_state(made.id, Crashed(), force=True)
                await client.set_flow_run_state(made.id, Scheduled(), force=True)
            run = await client.read_flow_run(made.id)
            await run_flow(of, flow_run=run, parameters=run.parameters, return_type="state")
        return await client.read_flow_run(made.id)


@pytest.mark.usefixtures("prefect")
def test_a_job_that_is_started_again_goes_on_in_its_output(job: Job, tmp_path: Path) -> None:
    values = written(job(), output=str(tmp_path / "{date}-{time}"))
    run = asyncio.run(started(2, config=values))
    assert run.state is not None
    assert run.state.is_completed()
    assert run.run_count == 2
    out = tmp_path / "2026-11-21-023000"
    assert run.name == f"rsd to {out}"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [out.name]
    assert len(list((out / "report" / "timeline").glob("*.json"))) == 1  # the second start found it complete
    assert yaml.safe_load((out / "config.yaml").read_text())["output"]["path"] == str(out)


@pytest.mark.usefixtures("prefect")
def test_a_seed_of_the_day_stays_when_the_job_is_started_again(job: Job, tmp_path: Path) -> None:
    def seeds(name: str, times: int, seed: str) -> tuple[int, str]:
        values = written(job(), output=str(tmp_path / name))
        values["decoding"] |= {"seed": seed}
        run = asyncio.run(started(times, config=values, changes=["input.limit=4"]))
        assert run.state is not None
        assert run.state.is_completed(), run.state.message
        assert run.run_count == times
        return yaml.safe_load((tmp_path / name / "config.yaml").read_text())["decoding"]["seed"], str(run.id)

    assert seeds("day", 2, "{date}")[0] == 20261121
    seed, id_ = seeds("run", 1, "{run}")
    assert seed == crc32(id_.encode())


@pytest.mark.usefixtures("prefect")
def test_a_path_is_read_where_the_flow_runs(job: Job, s3: str, tmp_path: Path) -> None:
    values = written(job(), output=f"{s3}/{{date}}")
    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="job.yaml", Body=yaml.safe_dump(values).encode())
    run = asyncio.run(started(1, config=f"{s3}/job.yaml", changes=["input.limit=3", "decoding.samples=1"]))
    assert run.state is not None
    assert run.state.is_completed()
    assert run.name == f"rsd to {s3}/2026-11-21"


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize(
    ("config", "changes", "told"),
    [
        ({"foo": 1}, [], "config: input is missing; output is missing; models is missing"),
        (3, [], "config: must be a mapping with input, output and models"),
        ("/no/such.yaml", [], "/no/such.yaml: no such configuration file"),
        ("/no/such.yaml", "input.limit=3", "changes: must be a list of dotted.key=value, such as [input.limit=100]"),
        (None, ["decoding.metod=target"], "config: decoding.metod: unknown key; did you mean method?"),
        (None, ["storage.endpoint_url=https://me:secret@host"], "config: storage.endpoint_url: credentials must not"),
    ],
)
def test_a_mistake_is_the_flow_runs_message(config: Any, changes: Any, told: str, job: Job) -> None:
    run = asyncio.run(started(1, config=written(job()) if config is None else config, changes=changes))
    assert run.state is not None
    assert run.state.is_failed()
    assert run.state.message is not None
    assert run.state.message.startswith(f"Flow run encountered an exception: UserError: {told}")
    assert "\n" not in run.state.message
    assert "secret@" not in run.state.message
