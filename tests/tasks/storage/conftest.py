"""A store on S3 with a proxy before it that makes faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from proxy import FaultProxy

from tasks.storage import faults, s3_files, s3_requests
from tasks.storage.store import Store


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(faults, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(s3_requests, "SLOWEST", 5 << 20)
    monkeypatch.setattr(s3_files, "PART", 5 << 20)


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what hangs; before a store is made."""
    monkeypatch.setattr(s3_requests, "READ_TIMEOUT", 0.3)


@pytest.fixture
def direct(s3: str) -> Any:
    """The S3 server without the proxy."""
    return boto3.client("s3")


@pytest.fixture
def proxy(direct: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server, seed=4, delay=0.02) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(proxy: FaultProxy, s3: str, said: list[str]) -> Store:
    return Store(f"{s3}/x", patience=30, say=said.append)
