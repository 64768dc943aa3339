"""Engines serve models: token ids in, token ids or rewards out.

To add a kind, write a file with `async def open_engine(spec, vocabulary, warn)`, and with a function that checks a
role's arguments. `open_engine` returns a `spec.Engine` or raises UserError, and reports faults that it rides out to
`warn`. Then add a line to KINDS, and a record in schemas/engine_kinds.py. Restarts are done for every kind by
supervision.py.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from schemas.config import EngineConfig
from tasks.engines import emulated, known_arguments, openai, scripted, served, vllm
from tasks.engines.memory import gpus
from tasks.engines.replicas import Replicas
from tasks.engines.spec import Engine, EngineSpec
from tasks.engines.supervision import Supervisor
from tasks.engines.turns import InTurn, Turns
from tasks.models.tokenizer import ModelVocabulary

Start = Callable[[], Awaitable[Engine]]


@dataclass(frozen=True)
class Kind:
    """How engines of a kind are had."""

    open_engine: Callable[[EngineSpec, ModelVocabulary, Callable[[str], None]], Awaitable[Any]]
    """A `spec.Engine`; one that never takes turns on a device needs no `sleep` and `wake`."""
    check: Callable[[str, EngineConfig, bool], None]
    """Raises UserError if a role's arguments are unknown or not allowed. If its engine is to run here, also if this
    machine or its environment lacks what they need."""
    prepare: Callable[[], None] = lambda: None
    """Begin slow preparations for the first engine; returns at once."""


KINDS: dict[str, Kind] = {
    "vllm": Kind(vllm.open_engine, known_arguments.check, vllm.prepare),
    "openai": Kind(openai.open_engine, served.check),
    "scripted": Kind(scripted.open_engine, scripted.check),
    "emulated": Kind(emulated.open_engine, emulated.check),
}


def prepare(kinds: set[str]) -> None:
    """Begin slow preparations that engines of these kinds need before they can start; returns at once."""
    for kind in kinds:
        KINDS[kind].prepare()


def check_engine(role: str, engine: EngineConfig, here: bool) -> None:
    """Raises UserError if the kind of a role's engine does not take its arguments, or with `here` cannot run here."""
    KINDS[engine.kind].check(role, engine, here)


@asynccontextmanager
async def open_engines(
    specs: list[EngineSpec],
    vocabularies: dict[str, ModelVocabulary],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    restarts: int,
    patience: float,
    metered: Callable[[str, Start], Start] = lambda role, start: start,
) -> AsyncIterator[dict[str, Supervisor | Replicas | InTurn]]:
    """Start engines side by side, and stop them all at the end, whatever happens. Engines that share a GPU start one
    after another, because each measures the memory that is left. Engines that take turns go to sleep once started,
    before the next one starts.

    Yields role to engine. Raises UserError with the engine's own words when one does not start. One that dies later is
    started again: at most `restarts` times without an answer in between, then its calls raise EngineError; one that
    has work and gets no further for `patience` seconds counts as dead. Starts are told to `say`, faults to `warn`;
    each start of a role is done through what `metered` makes of it.
    """
    locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
    async with AsyncExitStack() as stack:
        engines: dict[str, Supervisor | Replicas] = {}
        turns: defaultdict[str, dict[str, Supervisor | Replicas]] = defaultdict(dict)
        one_by_one: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        opening: list[Coroutine[Any, Any, None]] = []
        everyone: list[Supervisor] = []
        stack.push_async_callback(_close, everyone)
        for spec in specs:
            of_role = []
            for own in spec.replicas:
                replica = replace(spec, arguments=spec.arguments | own)
                start = partial(KINDS[spec.kind].open_engine, replica, vocabularies[spec.role], warn)
                starting = AllOf([locks[gpu] for gpu in sorted(gpus(replica))])
                engine = Supervisor(
                    spec.role, metered(spec.role, start), starting, warn, restarts=restarts, patience=patience
                )
                of_role.append(engine)
                everyone.append(engine)
            count = f" ({len(of_role)} replicas)" if len(of_role) > 1 else ""
            say(f"starting the {spec.role} engine{count}: {spec.model}")
            engines[spec.role] = Replicas(of_role) if len(of_role) > 1 else of_role[0]
            if spec.turns is None:
                opening += [engine.open() for engine in of_role]
            else:
                turns[spec.turns][spec.role] = engines[spec.role]
                opening.append(_open_asleep(of_role, one_by_one[spec.turns]))
        try:
            async with asyncio.TaskGroup() as group:
                for one in opening:
                    group.create_task(one)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        in_turn: dict[str, InTurn] = {}
        for roles in turns.values():
            shared = Turns(roles)
            stack.push_async_callback(shared.close)
            in_turn |= {role: InTurn(role, shared) for role in roles}
        yield engines | in_turn


async def _close(engines: list[Supervisor]) -> None:
    """Stop engines side by side. If one raises an error, it is raised once all are stopped."""
    ends = await asyncio.gather(*(engine.close() for engine in engines), return_exceptions=True)
    for error in ends:
        if isinstance(error, BaseException):
            raise error


async def _open_asleep(engines: list[Supervisor], device: asyncio.Lock) -> None:
    """Start a role's engines and put them to sleep before another role starts on their devices."""
    async with device:
        for engine in engines:
            await engine.open()
        for engine in engines:
            await engine.sleep()


class AllOf:
    """Several locks as one, taken in their order."""

    def __init__(self, locks: list[asyncio.Lock]) -> None:
        self.locks = [*locks, asyncio.Lock()]

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            for lock in self.locks:
                await stack.enter_async_context(lock)
            self.held = stack.pop_all()

    async def __aexit__(self, *_: object) -> None:
        await self.held.aclose()
