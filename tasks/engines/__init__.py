"""Engines serve models: token ids in, token ids or rewards out.

To add a kind, write a file with `async def open_engine(spec, sampling, vocabulary)` that returns an object with
`write` (see `decoding.models.Writer`) or, for the PRM, `score` (`Scorer`), and an async `close`; then add a line to
KINDS and its name to `EngineConfig.kind`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tasks.engines import scripted, vllm
from tasks.engines.spec import EngineSpec, Sampling
from tasks.vocabulary import ModelVocabulary

KINDS = {"vllm": vllm, "scripted": scripted}


@asynccontextmanager
async def open_engines(
    specs: list[EngineSpec],
    sampling: Sampling,
    vocabularies: dict[str, ModelVocabulary],
    say: Callable[[str], None],
) -> AsyncIterator[dict[str, Any]]:
    """Start engines, one after another since each measures the memory that is left; stop them all, whatever happens.

    Yields role to engine. Raises UserError with the engine's own words when one does not start.
    """
    async with AsyncExitStack() as stack:
        engines: dict[str, Any] = {}
        for spec in specs:
            say(f"starting the {spec.role} engine: {spec.model}")
            engine = await KINDS[spec.kind].open_engine(spec, sampling, vocabularies[spec.role])
            stack.push_async_callback(engine.close)
            engines[spec.role] = engine
        yield engines
