"""Exports that ask PRMs for rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from export.made import write_run
from schemas.config import Config
from tasks.decoding.requests import ScoreRequest
from tasks.engines.scripted import ScriptedEngine

Write = Callable[..., str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ScoreRequest]:
    """What is asked of scripted PRMs from now on."""
    found: list[ScoreRequest] = []
    usual = ScriptedEngine.ask

    async def noted(self: ScriptedEngine, looks: Sequence[Any], answered: Any) -> Any:
        found.extend(look for look in looks if isinstance(look, ScoreRequest))
        return await usual(self, looks, answered)

    monkeypatch.setattr(ScriptedEngine, "ask", noted)
    return found


@pytest.fixture
def write(tmp_path: Path, configured: Callable[..., Config]) -> Write:
    """A run with these solutions, whose models are scripted; `prm`: changes of its PRM."""

    def run(name: str, *shards: list[Any], prm: dict[str, Any] | None = None, **changes: Any) -> str:
        models = configured().models.model_dump(mode="json", exclude_defaults=True)
        models["prm"] |= prm or {}
        return write_run(tmp_path / name, shards, **{"models": models, "run": len(name)} | changes)

    return run
