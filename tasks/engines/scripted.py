"""No model: reproducible pseudo-random steps and rewards, for tests and for rehearsing a deployment without a GPU.

What it writes depends on the prompt's ids and, above temperature 0, on the seed; a reward depends on the ids alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import random
from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.config import EngineConfig
from tasks.decoding.requests import Answer, Answered, Request, Scored, ScoreRequest, StepRequest, Written, unheard
from tasks.decoding.trajectory import Failure, Ids
from tasks.engines.spec import Died, EngineSpec
from tasks.errors import UserError
from tasks.models.tokenizer import ModelVocabulary

WORDS = " so then the sum is now one two three four five, and hence = + 6 7 8 9"


class Script(BaseModel):
    """Arguments of a scripted engine."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    max_model_len: int = Field(default=4096, ge=8)
    tokens_per_step: int = Field(default=12, ge=1)
    """Mean; a step has between 1 and twice as many."""
    steps: float = Field(default=5.0, ge=1)
    """Mean steps of a solution."""
    seconds: float = Field(default=0.0, ge=0)
    """Time that every batch takes."""
    swap_seconds: float = Field(default=0.0, ge=0)
    """Time that going to sleep takes, and waking up."""
    refuse: str | None = None
    """Fail on prompts that hold this text."""
    crash: str | None = None
    """Die on prompts that hold this text, with all that is in flight."""
    stall: str | None = None
    """Never answer prompts that hold this text."""
    nan: str | None = None
    """Give NaN as the reward of prompts that hold this text, or as the confidence in what follows them."""


def read_script(role: str, arguments: dict[str, object]) -> Script:
    """The engine's arguments. Raises UserError that names the one that is wrong."""
    try:
        return Script.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"models.{role}.engine.{where}: {first['msg']} (engine kind scripted)") from error


def check(role: str, engine: EngineConfig, here: bool) -> None:
    """Raises UserError if a role's script has an unknown line."""
    read_script(role, engine.arguments)


async def open_engine(spec: EngineSpec, vocabulary: ModelVocabulary, warn: Callable[[str], None]) -> ScriptedEngine:
    """The engine of a role; `warn` is not needed. Raises UserError as `read_script`."""
    return ScriptedEngine(read_script(spec.role, spec.arguments), vocabulary)


class ScriptedEngine:
    """An `Engine` without a model."""

    def __init__(self, script: Script, vocabulary: ModelVocabulary) -> None:
        self.script, self.vocabulary = script, vocabulary
        self.words = vocabulary.encode_steps([WORDS])[0]
        self.separator = functools.cache(lambda text: vocabulary.encode_steps([text])[0])
        self.eos = vocabulary.tokenizer.eos_token_id
        self.marks = {
            name: vocabulary.encode_steps([text])[0]
            for name in ("refuse", "crash", "stall", "nan")
            if (text := getattr(script, name))
        }
        self.answers: dict[type, Callable[[Any], Any]] = {StepRequest: self._step, ScoreRequest: self._score}
        self.answered = 0
        self.death: Died | None = None
        self.dead = asyncio.Event()
        self.asleep = False
        self.in_flight = 0

    async def ask(
        self, requests: Sequence[Request[Answer]], answered: Answered = unheard
    ) -> list[Answer | Failure | Died]:
        """As `Engine.ask`: all answers after the batch's time; none if the engine dies before."""
        assert not self.asleep, "an engine that sleeps is asked nothing"
        self.in_flight += 1
        try:
            return await self._answers(requests)
        finally:
            self.in_flight -= 1

    async def sleep(self) -> None:
        """As `Engine.sleep`."""
        assert not self.asleep, "an engine that sleeps is not put to sleep"
        assert not self.in_flight, "an engine that has work is not put to sleep"
        self.asleep = True
        await asyncio.sleep(self.script.swap_seconds)

    async def wake(self) -> None:
        """As `Engine.wake`."""
        assert self.asleep, "an engine that is awake is not woken"
        await asyncio.sleep(self.script.swap_seconds)
        self.asleep = False

    async def reset_prefix_cache(self) -> None:
        """As `Engine.reset_prefix_cache`; there is nothing to drop."""
        assert not self.in_flight, "an engine that has work keeps what it cached"

    def progress(self) -> int:
        """As `Engine.progress`: requests answered."""
        return self.answered

    def kill(self, reason: str) -> None:
        """As `Engine.kill`."""
        self.death = self.death or Died(reason)
        self.dead.set()

    async def close(self) -> None:
        """As `Engine.close`."""
        self.kill("closed")

    async def _answers(self, requests: Sequence[Request[Any]]) -> list[Any]:
        if self.script.seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.script.seconds):
                    await self.dead.wait()
        else:
            await asyncio.sleep(0)
        if any(self._holds(request.prompt, "crash") for request in requests):
            self.kill("crashed by its script")
        if self.death:
            return [self.death] * len(requests)
        results: list[Any] = []
        for request in requests:
            if self._holds(request.prompt, "stall"):
                results.append(None)
            elif self._holds(request.prompt, "refuse"):
                results.append(Failure("refused by its script"))
            else:
                results.append(self.answers[type(request)](request))
                self.answered += 1
        if None in results:
            await self.dead.wait()
        return [result or self.death for result in results]

    def _step(self, request: StepRequest) -> Written:
        draw = _draw(request.prompt, str(request.seed) if request.sampling.temperature else "greedy")
        separator = self.separator(request.sampling.separator)
        ids = array("i", draw.choices(self.words, k=draw.randint(1, 2 * self.script.tokens_per_step - 1)))
        last = draw.random() < 1 / self.script.steps
        confidence = draw.random() if request.sampling.confidence else None
        if confidence is not None and self._holds(request.prompt, "nan"):
            confidence = math.nan
        ids.extend([separator[-1] if self.eos is None else self.eos] if last else separator)
        if len(ids) > request.max_tokens:
            return Written(ids[: request.max_tokens], "length", confidence=confidence)
        return Written(ids, "eos" if last else "step", confidence=confidence)

    def _score(self, request: ScoreRequest) -> Scored:
        if self._holds(request.prompt, "nan"):
            return Scored(math.nan)
        return Scored(float(np.float32(_draw(request.prompt, "score").random())))

    def _holds(self, prompt: Ids, name: str) -> bool:
        """Does the prompt hold the text of one of the script's arguments? Compared as ids."""
        mark = self.marks.get(name)
        if not mark:
            return False
        return any(prompt[i : i + len(mark)] == mark for i in range(len(prompt) - len(mark) + 1))


def _draw(ids: Ids, salt: str) -> random.Random:
    digest = blake2b(ids, digest_size=8, key=salt.encode()[:64]).digest()
    return random.Random(int.from_bytes(digest))
