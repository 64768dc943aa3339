"""An engine that answers as `scripted` does, when an emulated card would have computed it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tasks.decoding.requests import Answer, Answered, Request, Written, unheard
from tasks.decoding.trajectory import Failure
from tasks.engines.emulated.arguments import Emulation, read_emulation
from tasks.engines.emulated.batch import Batch, Job
from tasks.engines.emulated.machine import Machine, machine_here
from tasks.engines.emulated.prefix_cache import PrefixCache, keys_of
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.spec import Died, EngineSpec
from tasks.errors import UserError
from tasks.models.tokenizer import ModelVocabulary

NEEDED = ("parameters", "layers", "kv_bytes_per_token", "cache_tokens")
"""Arguments that the plan fills in where the configuration leaves them out."""


async def open_engine(spec: EngineSpec, vocabulary: ModelVocabulary, warn: Callable[[str], None]) -> EmulatedEngine:
    """The engine of a role. When the last engine of a run closes, `warn` is told what the cards did. Raises UserError
    as `read_emulation`."""
    emulation = read_emulation(spec.role, spec.arguments)
    for name in NEEDED:
        if getattr(emulation, name) is None:
            raise UserError(f"models.{spec.role}.engine.{name}: is needed (engine kind emulated)")
    return EmulatedEngine(spec.role, emulation, vocabulary, machine_here(spec.role, emulation.speed), warn)


class EmulatedEngine:
    """An `Engine` on emulated cards."""

    def __init__(
        self,
        role: str,
        emulation: Emulation,
        vocabulary: ModelVocabulary,
        machine: Machine,
        warn: Callable[[str], None],
    ) -> None:
        assert emulation.cache_tokens is not None
        self.machine, self.warn = machine, warn
        self.script = ScriptedEngine(emulation.script, vocabulary)
        self.cache = PrefixCache(emulation.cache_tokens, emulation.host_cache_tokens, emulation.block_size)
        tokens = emulation.max_num_batched_tokens
        self.batch = Batch(emulation.costs(), self.cache, min(emulation.max_num_seqs, tokens), tokens)
        cards = emulation.device_ids or range(emulation.tensor_parallel_size)
        self.station = machine.join(role, cards, self.batch)
        self.answered = 0
        self.asleep = False
        self.under_way: dict[asyncio.Future[None], list[Job]] = {}
        """The jobs of each call."""

    @property
    def death(self) -> Died | None:
        """As `Engine.death`."""
        return self.script.death

    async def ask(
        self, requests: Sequence[Request[Answer]], answered: Answered = unheard
    ) -> list[Answer | Failure | Died]:
        """As `Engine.ask`; `answered` is called in the moment in which the cards have computed an answer."""
        results: list[Any] = [None] * len(requests)

        def told(number: int, answer: Any) -> None:
            results[number] = answer
            if not isinstance(answer, Died):
                answered(number, answer)

        await self._answer(requests, told)
        return results

    async def _answer(self, requests: Sequence[Request[Any]], answered: Answered) -> None:
        assert not self.asleep, "an engine that sleeps is asked nothing"
        left = 0
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(number: int, answer: Any) -> None:
            nonlocal left
            left -= 1
            answered(number, answer)
            if not left and not ended.done():
                ended.set_result(None)

        jobs = []
        for number, answer in enumerate(await self.script.ask(requests)):
            if isinstance(answer, Died):
                self.kill(answer.reason)
            if isinstance(answer, Failure | Died):
                answered(number, answer)
                continue
            job = self._job(requests[number], number, answer, done)
            if not self.batch.fits(job):
                room = self.cache.room * self.cache.block
                answered(number, Failure(f"{job.tokens:,} tokens do not fit a cache of {room:,}"))
                continue
            jobs.append(job)
        left = len(jobs)
        if self.death is not None or not left:
            for job in jobs:
                job.done(job)
            return
        self.under_way[ended] = jobs
        self.machine.ask(self.station, jobs)
        try:
            await ended
        finally:
            for job in self.under_way.pop(ended, ()):
                self.batch.drop(job)

    async def sleep(self) -> None:
        """As `Engine.sleep`: the weights move to the host, and what was cached is lost."""
        assert not self.asleep, "an engine that sleeps is not put to sleep"
        assert not self.under_way, "an engine that has work is not put to sleep"
        self.asleep = True
        self.cache.clear()
        await self.machine.move(self.station)

    async def wake(self) -> None:
        """As `Engine.wake`: the weights come back."""
        assert self.asleep, "an engine that is awake is not woken"
        await self.machine.move(self.station)
        self.asleep = False

    async def reset_prefix_cache(self) -> None:
        """As `Engine.reset_prefix_cache`, the host's tier included."""
        self.cache.clear()

    def progress(self) -> int:
        """As `Engine.progress`: iterations."""
        return self.batch.count.iterations

    def kill(self, reason: str) -> None:
        """As `Engine.kill`."""
        self.script.kill(reason)
        for jobs in list(self.under_way.values()):
            for job in jobs:
                if not job.over:
                    self.batch.drop(job)
                    job.done(job)

    async def close(self) -> None:
        """As `Engine.close`."""
        self.kill("closed")
        self.machine.leave(self.station)
        if not self.machine.stations and self.machine.time:
            self.warn(told(self.machine.figures()))

    def _job(self, request: Request[Any], number: int, answer: Any, done: Answered) -> Job:
        written = answer.token_ids if isinstance(answer, Written) else ()
        ids = np.array(request.prompt, np.int32)
        if len(written) > 1:  # the last one is never read
            ids = np.concatenate([ids, np.array(written[:-1], np.int32)])

        def ended(job: Job) -> None:
            if self.death is not None:
                done(number, self.death)
                return
            answer.cached = job.cached
            self.answered += 1
            done(number, answer)

        return Job(keys_of(ids, self.cache.block), len(request.prompt), len(written), ended)


def told(figures: dict[str, Any]) -> str:
    """What the cards of a run did, in a line."""
    cards = figures["cards"]
    busy = sum(cards.values()) / (len(cards) * figures["seconds"])
    roles = ", ".join(f"{role} {of['busy']:,.1f}" for role, of in figures["roles"].items())
    where = "the emulated card" if len(cards) == 1 else f"the {len(cards)} emulated cards"
    return f"{figures['seconds']:,.1f} s passed on {where}, at work {busy:.0%} of it (card-seconds: {roles})"
