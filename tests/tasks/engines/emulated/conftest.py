"""Emulated engines for tests, on a clock that waits for nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.config import ModelConfig, PromptConfig
from tasks.engines.emulated import open_engine
from tasks.engines.emulated.engine import EmulatedEngine
from tasks.engines.spec import EngineSpec
from tasks.models.tokenizer import ModelVocabulary

DRAFT = Path(__file__).parents[4] / "deploy" / "demo" / "models" / "draft"
SEVEN = {"parameters": 7.6e9, "layers": 28, "kv_bytes_per_token": 57_344, "cache_tokens": 1 << 20, "speed": None}
"""A model of 7B on a card of its own."""

Open = Callable[..., Awaitable[EmulatedEngine]]


@pytest.fixture(scope="session")
def vocabulary() -> ModelVocabulary:
    return ModelVocabulary("draft", ModelConfig(model=str(DRAFT)), PromptConfig())


@pytest.fixture
def opened(vocabulary: ModelVocabulary) -> Open:
    """Opens the engine of a role, SEVEN but for what is given; `said` takes what it says."""

    async def open_(role: str = "draft", said: list[str] | None = None, **arguments: Any) -> EmulatedEngine:
        spec = EngineSpec(role, "m", "emulated", 1 << 20, SEVEN | arguments)
        return await open_engine(spec, vocabulary, (said if said is not None else []).append)

    return open_
