"""Vocabularies, a PRM format and engines that are small enough to reason about.

What an engine answers is a function of the ids and the seed it is asked with, and of nothing else.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure, Ids

ALPHABET = "ab.é\n"
SEPARATOR = "\n\n"
EOS = 0
TAG = 999
"""The PRM's tag; not an id of any vocabulary here."""
LEAD, TAIL = [997], [998, 998]
"""What chatty formats put before every step but the first, and at the end of every prompt."""
GRID = [float(np.float32(k / 10)) for k in range(11)]
"""Rewards that the fake PRM gives: 0, 0.1, ..., 1 in float32, so that thresholds are hit exactly."""


class FakeVocabulary:
    key: str
    prompt_parts: Mapping[str, str] = {}
    chunks: list[list[int]]
    """What a model of this vocabulary writes: ids that stand for whole characters."""

    frame = "stepwave-problem-goes-here"
    """Of a prompt: nothing but the problem."""

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def decode(self, ids: list[int]) -> str:
        raise NotImplementedError

    def encode_steps(self, texts: list[str]) -> list[Ids]:
        return [array("i", self.encode(text)) for text in texts]

    def decode_steps(self, ids: Sequence[Ids]) -> list[str]:
        return [self.decode(step.tolist()) for step in ids]


class Bytes(FakeVocabulary):
    """A token is a byte of UTF-8: "é" is two, so that a length limit may cut it."""

    key = "bytes"

    def __init__(self) -> None:
        self.chunks = [self.encode(text) for text in (*ALPHABET, SEPARATOR, SEPARATOR)]

    def encode(self, text: str) -> list[int]:
        return [1 + byte for byte in text.encode()]

    def decode(self, ids: list[int]) -> str:
        return bytes(i - 1 for i in ids if i != EOS).decode("utf-8", "replace")


class Pairs(FakeVocabulary):
    """A token is two characters, or one at the end: separators end inside of tokens such as "a\\n" and "\\nb"."""

    key = "pairs"
    TEXTS = ("", *ALPHABET, *(a + b for a in ALPHABET for b in ALPHABET))

    def __init__(self) -> None:
        breaks = [i for i, text in enumerate(self.TEXTS) if "\n" in text]
        self.chunks = [[i] for i in (*range(1, len(self.TEXTS)), *breaks)]

    def encode(self, text: str) -> list[int]:
        return [self.TEXTS.index(text[i : i + 2]) for i in range(0, len(text), 2)]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.TEXTS[i] for i in ids)


class Pieces(FakeVocabulary):
    """Longest match over a few pieces, as of a trained tokenizer: ".\\n\\n" and "\\n\\n\\n" are one token each."""

    key = "pieces"
    TEXTS = ("", "a\n\nb", ".\n\n", "\n\n\n", "\n\n", "ab", "éa", *ALPHABET)

    def __init__(self) -> None:
        self.chunks = [[i] for i in range(1, len(self.TEXTS))]

    def encode(self, text: str) -> list[int]:
        ids = []
        while text:
            longest = max((t for t in self.TEXTS if t and text.startswith(t)), key=len)
            ids.append(self.TEXTS.index(longest))
            text = text[len(longest) :]
        return ids

    def decode(self, ids: list[int]) -> str:
        return "".join(self.TEXTS[i] for i in ids)


VOCABULARIES: dict[str, FakeVocabulary] = {v.key: v for v in (Bytes(), Pairs(), Pieces())}


class FakeFormat:
    """A tag after each step, whose separator is left out."""

    def __init__(self, vocabulary: FakeVocabulary, chatty: bool = False) -> None:
        self.vocabulary = vocabulary
        self.lead, self.tail = (LEAD, array("i", TAIL)) if chatty else ([], array("i"))
        self.tag_tokens = len(self.lead) + 1 + len(self.tail)

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        steps = self.vocabulary.encode_steps([text.strip() for text in texts])
        return [array("i", [*(self.lead if k else []), *ids, TAG]) for ids, k in zip(steps, numbers, strict=True)]


class FakeWriter:
    """Writes random chunks until the separator shows in its text, as vLLM does: the last token may reach beyond it."""

    def __init__(
        self, role: str, vocabulary: FakeVocabulary, eos_rate: float, failure_rate: float = 0.0, seeds: int = 2**63
    ) -> None:
        """`seeds`: how many it tells apart."""
        self.role, self.vocabulary, self.seeds = role, vocabulary, seeds
        self.eos_rate, self.failure_rate = eos_rate, failure_rate
        self.asks: list[StepRequest] = []
        """All that was asked, prompts as they were at that time."""

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure]:
        asked = [StepRequest(a.prompt[:], a.max_tokens, a.seed) for a in asks]
        self.asks += asked
        await asyncio.sleep(0)  # lets others in
        return [_as_ids(self.answer(ask.prompt.tolist(), ask.max_tokens, ask.seed)) for ask in asked]

    def answer(self, prompt: list[int], max_tokens: int, seed: int) -> Written | Failure:
        assert max_tokens > 0, "an engine refuses to write nothing"
        draw = random.Random(repr((self.role, prompt, seed % self.seeds)))
        if draw.random() < self.failure_rate:
            return Failure("refused")
        ids: list[int] = []
        while True:
            for i in [EOS] if draw.random() < self.eos_rate else draw.choice(self.vocabulary.chunks):
                ids.append(i)
                if i == EOS:
                    return Written(ids, "eos")
                if SEPARATOR in self.vocabulary.decode(ids):
                    return Written(ids, "step")
                if len(ids) == max_tokens:
                    return Written(ids, "length")


def _as_ids(answer: Written | Failure) -> Written | Failure:
    """An answer as engines give it."""
    return answer if isinstance(answer, Failure) else replace(answer, token_ids=array("i", answer.token_ids))


class FakeScorer:
    def __init__(self, failure_rate: float = 0.0) -> None:
        self.failure_rate = failure_rate
        self.prompts: list[list[int]] = []

    async def ask(self, looks: Sequence[ScoreRequest], answered: Any = None) -> list[Scored | Failure]:
        prompts = [list(look.prompt) for look in looks]
        self.prompts += prompts
        await asyncio.sleep(0)
        return [self.answer(p) for p in prompts]

    def answer(self, prompt: list[int]) -> Scored | Failure:
        assert prompt[-1] == TAG or [TAG, *TAIL] == prompt[-3:], prompt
        draw = random.Random(repr(("prm", prompt)))
        return Failure("refused") if draw.random() < self.failure_rate else Scored(draw.choice(GRID))
