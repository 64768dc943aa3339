"""No model: reproducible pseudo-random steps and rewards, for tests and for rehearsing a deployment without a GPU.

What it writes depends on the prompt's ids and, above temperature 0, on the seed; a reward depends on the ids alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.decoding.models import Ask, Scored, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.spec import EngineSpec, Sampling
from tasks.errors import UserError
from tasks.vocabulary import ModelVocabulary

WORDS = " so then the sum is now one two three four five, and hence = + 6 7 8 9"


class Script(BaseModel):
    """Arguments of a scripted engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_model_len: int = Field(default=4096, ge=8)
    tokens_per_step: int = Field(default=12, ge=1)
    """Mean; a step has between 1 and twice as many."""
    steps: float = Field(default=5.0, ge=1)
    """Mean steps of a solution."""
    seconds: float = Field(default=0.0, ge=0)
    """Time that every batch takes."""
    refuse: str | None = None
    """Fail on prompts that hold this text."""


def read_script(role: str, arguments: dict[str, object]) -> Script:
    try:
        return Script.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"models.{role}.engine.{where}: {first['msg']} (engine kind scripted)") from error


async def open_engine(spec: EngineSpec, sampling: Sampling, vocabulary: ModelVocabulary) -> ScriptedEngine:
    return ScriptedEngine(read_script(spec.role, spec.arguments), sampling, vocabulary)


class ScriptedEngine:
    def __init__(self, script: Script, sampling: Sampling, vocabulary: ModelVocabulary) -> None:
        self.script, self.sampling, self.vocabulary = script, sampling, vocabulary
        words, separator = vocabulary.encode_steps([WORDS, sampling.separator])
        self.words, self.separator = words, separator
        eos = vocabulary.tokenizer.eos_token_id
        self.eos = eos if eos is not None else separator[-1]
        self.refused = vocabulary.encode_steps([script.refuse])[0] if script.refuse else None

    async def write(self, asks: Sequence[Ask]) -> list[Written | Failure]:
        await self._pause()
        return [self._write(ask) for ask in asks]

    async def score(self, prompts: Sequence[list[int]]) -> list[Scored | Failure]:
        await self._pause()
        return [self._refusal(p) or Scored(float(np.float32(_draw(p, "score").random()))) for p in prompts]

    async def close(self) -> None:
        return

    async def _pause(self) -> None:
        await asyncio.sleep(self.script.seconds)

    def _write(self, ask: Ask) -> Written | Failure:
        if refusal := self._refusal(ask.prompt):
            return refusal
        draw = _draw(ask.prompt, str(ask.seed) if self.sampling.temperature else "greedy")
        ids = draw.choices(self.words, k=draw.randint(1, 2 * self.script.tokens_per_step - 1))
        last = draw.random() < 1 / self.script.steps
        ids += [self.eos] if last else self.separator
        if len(ids) > ask.max_tokens:
            return Written(ids[: ask.max_tokens], "length")
        return Written(ids, "eos" if last else "step")

    def _refusal(self, prompt: list[int]) -> Failure | None:
        """A failure where the prompt holds the text to refuse, compared as ids."""
        if self.refused and any(
            prompt[i : i + len(self.refused)] == self.refused for i in range(len(prompt) - len(self.refused) + 1)
        ):
            return Failure("refused by its script")
        return None


def _draw(ids: list[int], salt: str) -> random.Random:
    digest = blake2b(np.asarray(ids, np.int32).tobytes(), digest_size=8, key=salt.encode()[:64]).digest()
    return random.Random(int.from_bytes(digest))
