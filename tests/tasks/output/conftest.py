"""Outputs, stores, and processes that claim shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.config import Config
from tasks.output import claims
from tasks.output.directory import RunDirectory
from tasks.output.session import Session
from tasks.storage.store import Store

Configured = Callable[..., Config]


@pytest.fixture
def config(configured: Configured) -> Config:
    return configured()


@pytest.fixture
def output(config: Config) -> RunDirectory:
    return RunDirectory(Store(config.output.path))


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3") + "/x"


@pytest.fixture
def store(root: str) -> Store:
    return Store(root)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


@pytest.fixture
def make_session(local: Store) -> Iterator[Callable[..., Session]]:
    """Sessions of this process, on the local store unless another is given."""
    made = []

    def make(store: Store = local) -> Session:
        session = Session(store)
        made.append(session.name)
        claims.OPEN.add(session.name)
        session.renew()
        return session

    yield make
    claims.OPEN.difference_update(made)
