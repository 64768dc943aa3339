"""Runs as real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.config import Config

UNDISTURBED: dict[tuple[str, ...], Path] = {}


@pytest.fixture
def undisturbed(
    job: Callable[..., Config], generate: Callable[[Config], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """The usual job with changes, in this process, on a local disk and with no faults; each is run once."""

    def run(*changes: str) -> Path:
        if changes not in UNDISTURBED:
            out = tmp_path_factory.mktemp("whole") / "out"
            generate(job(*changes, output=str(out)))
            UNDISTURBED[changes] = out
        return UNDISTURBED[changes]

    return run


@pytest.fixture
def command(
    job: Callable[..., Config], tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """The words of a run of the usual job with changes, in a process that uses the tests' Prefect server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect)

    def words(*changes: str, **paths: str) -> list[str]:
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(job(*changes, **paths).model_dump(mode="json")))
        return ["generate", str(path)]

    return words
