"""Engines on made-up servers, as the tests of a served role open them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from schemas.config import ModelConfig, PromptConfig
from tasks.decoding.requests import StepRequest
from tasks.engines import open_engines
from tasks.engines.openai import OpenAIEngine, open_engine
from tasks.engines.spec import EngineSpec, Scoring
from tasks.engines.supervision import Supervisor
from tasks.models.tokenizer import ModelVocabulary

from .fake_server import FakeServer

DRAFT = Path(__file__).parents[3] / "deploy" / "demo" / "models" / "draft"
VOCABULARY = ModelVocabulary("draft", ModelConfig(model=str(DRAFT)), PromptConfig())


def asks(number: int) -> list[StepRequest]:
    return [StepRequest([20, n, 300 + n], 8, seed=n, affinity=n) for n in range(number)]


def spec(servers: list[FakeServer], role: str = "draft", **arguments: Any) -> EngineSpec:
    scoring = Scoring((0.0, 1.0), {"runner": "pooling", "hf_overrides": {"architectures": ["A"]}})
    arguments = {"endpoints": [s.url for s in servers], **arguments}
    return EngineSpec(role, "m", "openai", 4096, arguments, scoring=scoring if role == "prm" else None)


@asynccontextmanager
async def serving(number: int = 1) -> AsyncIterator[list[FakeServer]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FakeServer(VOCABULARY)) for _ in range(number)]


@asynccontextmanager
async def opened(
    servers: list[FakeServer],
    role: str = "draft",
    warn: Callable[[str], None] = print,
    **arguments: Any,
) -> AsyncIterator[OpenAIEngine]:
    engine = await open_engine(spec(servers, role, **arguments), VOCABULARY, warn)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def supervised(
    servers: list[FakeServer],
    say: Callable[[str], None] = print,
    role: str = "draft",
    restarts: int = 5,
    **arguments: Any,
) -> AsyncIterator[Supervisor]:
    of = spec(servers, role, **arguments)
    async with open_engines([of], {role: VOCABULARY}, say, say, restarts=restarts, patience=600) as engines:
        yield engines[role]
