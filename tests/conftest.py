"""What tests of every folder use: problem sets, scripted runs, an S3 server, one Prefect server for all flows."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # ahead of tests/, whose folders are called flows and tasks as well

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import pytest  # noqa: E402
import yaml  # noqa: E402
from rows import MIXED  # noqa: E402

from schemas.config import Config  # noqa: E402
from tasks.configuration.parsing import from_values  # noqa: E402

MODELS = ROOT / "deploy" / "demo" / "models"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the second tier as well: tests that are marked tier2")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the second tier out of a run of all tests. Tests whose files are named are run, whatever their tier."""
    named = [Path(argument).resolve() for argument in config.args] != [ROOT / "tests"]
    if config.getoption("--all") or named:
        return
    later = [item for item in items if item.get_closest_marker("tier2") and not item.get_closest_marker("tier1")]
    config.hook.pytest_deselected(items=later)
    items[:] = [item for item in items if item not in set(later)]


@pytest.fixture
def no_hang() -> Iterator[None]:
    """What waits for ever, fails."""

    def late(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def models() -> Path:
    """Folder of the bundled checkpoints: draft, target, prm."""
    return MODELS


@pytest.fixture
def problem_set(tmp_path: Path) -> Callable[..., str]:
    """Write a Parquet file of columns, or of a ready table, and get its path."""

    def write(columns: dict[str, Any] | pa.Table, name: str = "problems.parquet", **options: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
        return str(path)

    return write


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    """A configuration of scripted engines on the bundled tokenizers, with `--set` changes."""

    def make(*changes: str, usual: Sequence[str] = (), **paths: str) -> Config:
        """`usual`: what stands in the file already."""
        values: dict[str, Any] = {
            "input": {"path": paths.get("input", str(tmp_path / "problems.parquet"))},
            "output": {"path": paths.get("output", str(tmp_path / "out"))},
            "models": {
                role: {"model": str(MODELS / role), "engine": {"kind": "scripted", "max_model_len": 2048}}
                for role in ("draft", "target", "prm")
            },
        }
        for change in usual:
            key, _, text = change.partition("=")
            *sections, last = key.split(".")
            at = values
            for section in sections:
                at = at.setdefault(section, {})
            at[last] = yaml.safe_load(text)
        return from_values(Config, values, list(changes), "job.yaml")

    return make


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server in this process."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    turn = threading.Lock()

    def in_turn(write: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> Any:
            with turn:
                return write(*arguments, **named)

        return act

    with pytest.MonkeyPatch.context() as patch:
        # S3 looks whether there is an object and writes it in one step; this server lets others in between
        for name in ("_key_response_put", "_key_response_post"):
            patch.setattr(S3Response, name, in_turn(getattr(S3Response, name)))
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        server.stop()


BUCKETS = iter(range(1_000_000))


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A fresh bucket, as s3://name, reached through nothing but the environment."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-aws-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(BUCKETS)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def prefect() -> Iterator[str]:
    """Address of a Prefect API that lives as long as the tests."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    quick = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_TO_API_ENABLED: False}
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(quick):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def generate(prefect: str) -> Callable[[Config], dict[str, Any]]:
    """Run the flow; returns the manifest."""
    from flows.generate import generate as flow

    return lambda config: asyncio.run(flow(config))


@pytest.fixture
def mixed(problem_set: Callable[..., str]) -> str:
    return problem_set(MIXED)


@pytest.fixture
def job(configured: Callable[..., Config], mixed: str) -> Callable[..., Config]:
    """A run over the mixed rows: two samples, small shards and few in flight, some of every end."""
    usual = [
        "decoding.samples=2",
        "decoding.temperature=0.8",
        "decoding.max_tokens=90",
        "decoding.max_steps=6",
        "decoding.accept.threshold=0.5",
        "run={shard_size: 13, in_flight: 21, checkpoint_seconds: 0, engine_restarts: 0}",
    ]
    return lambda *changes, **paths: configured(*changes, usual=usual, **({"input": mixed} | paths))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where `job` writes unless told otherwise."""
    return tmp_path / "out"
