"""Engines serve models: token ids in, token ids or rewards out.

To add a kind, write a file with `async def open_engine(spec, sampling, vocabulary)` that returns a `spec.Engine` or
raises UserError; then add a line to KINDS and its name to `EngineConfig.kind`. What happens when an engine dies is no
concern of a kind's: see supervision.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tasks.engines import scripted, vllm
from tasks.engines.spec import Engine, EngineSpec, Sampling
from tasks.engines.supervision import Supervisor
from tasks.vocabulary import ModelVocabulary

Start = Callable[[], Awaitable[Engine]]

KINDS = {"vllm": vllm, "scripted": scripted}


@asynccontextmanager
async def open_engines(
    specs: list[EngineSpec],
    sampling: Sampling,
    vocabularies: dict[str, ModelVocabulary],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    restarts: int,
    patience: float,
    metered: Callable[[str, Start], Start] = lambda role, start: start,
) -> AsyncIterator[dict[str, Supervisor]]:
    """Start engines, one after another since each measures the memory that is left; stop them all, whatever happens.

    Yields role to engine. Raises UserError with the engine's own words when one does not start. One that dies later is
    started again: at most `restarts` times without an answer in between, then its calls raise EngineError; one that
    has work and gets no further for `patience` seconds counts as dead. Starts are told to `say`, faults to `warn`;
    each start of a role is done through what `metered` makes of it.
    """
    starting = asyncio.Lock()
    async with AsyncExitStack() as stack:
        engines: dict[str, Supervisor] = {}
        for spec in specs:
            say(f"starting the {spec.role} engine: {spec.model}")
            start = partial(KINDS[spec.kind].open_engine, spec, sampling, vocabularies[spec.role])
            engine = Supervisor(
                spec.role, metered(spec.role, start), starting, warn, restarts=restarts, patience=patience
            )
            stack.push_async_callback(engine.close)
            await engine.open()
            engines[spec.role] = engine
        yield engines
