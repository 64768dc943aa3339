"""The models of a run for one cohort, with their calls metered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from tasks.decoding.models import Ask, Look, Models, Scored, Scorer, StepFormat, Vocabulary, Writer, Written
from tasks.decoding.trajectory import Failure, Ids
from tasks.engines.turns import InTurn
from tasks.grading import Grade, Grades
from tasks.metering import Hand

TOKENIZING = "tokenizing"
TURNS = "waiting for a turn"


def metered(models: Models, hand: Hand) -> Models:
    """The same models, whose calls are counted to a cohort's hand."""
    writers = {
        role: replace(
            model,
            engine=MeteredWriter(role, model.engine, hand),
            vocabulary=MeteredVocabulary(model.vocabulary, hand),
        )
        for role, model in models.writers.items()
    }
    prm = models.prm
    if prm is not None:
        prm = replace(prm, engine=MeteredScorer(prm.engine, hand), format=MeteredFormat(prm.format, hand))
    return replace(models, writers=writers, prm=prm)


@asynccontextmanager
async def at_work(engine: Any, role: str, requests: int, hand: Hand) -> AsyncIterator[Any]:
    """The block waits for requests to an engine. An engine that takes turns is not busy before its turn."""
    async with AsyncExitStack() as turn:
        if isinstance(engine, InTurn):
            with hand.at(TURNS):
                engine = await turn.enter_async_context(engine.turn(requests))
        with hand.call(role, requests):
            yield engine


class MeteredWriter:
    """A `Writer` whose calls are metered."""

    def __init__(self, role: str, engine: Writer, hand: Hand) -> None:
        self.role, self.engine, self.hand = role, engine, hand

    async def write(self, asks: Sequence[Ask]) -> list[Written | Failure]:
        """As `Writer.write`."""
        async with at_work(self.engine, self.role, len(asks), self.hand) as engine:
            return await engine.write(asks)


class MeteredScorer:
    """A `Scorer` whose calls are metered."""

    def __init__(self, engine: Scorer, hand: Hand) -> None:
        self.engine, self.hand = engine, hand

    async def score(self, looks: Sequence[Look]) -> list[Scored | Failure]:
        """As `Scorer.score`."""
        async with at_work(self.engine, "prm", len(looks), self.hand) as engine:
            return await engine.score(looks)


class MeteredFormat:
    """A `StepFormat` whose time counts as tokenizing."""

    def __init__(self, format: StepFormat, hand: Hand) -> None:
        self.format, self.hand = format, hand
        self.tail = format.tail

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `StepFormat.encode_steps`."""
        with self.hand.at(TOKENIZING):
            return self.format.encode_steps(texts, numbers)


class MeteredVocabulary:
    """A `Vocabulary` whose time counts as tokenizing."""

    def __init__(self, vocabulary: Vocabulary, hand: Hand) -> None:
        self.vocabulary, self.hand = vocabulary, hand
        self.key = vocabulary.key

    def encode_steps(self, texts: list[str]) -> list[Ids]:
        """As `Vocabulary.encode_steps`."""
        with self.hand.at(TOKENIZING):
            return self.vocabulary.encode_steps(texts)

    def decode_steps(self, ids: Sequence[Ids]) -> list[str]:
        """As `Vocabulary.decode_steps`."""
        with self.hand.at(TOKENIZING):
            return self.vocabulary.decode_steps(ids)


class MeteredGrader:
    """`Grades` whose time counts as grading."""

    def __init__(self, grader: Grades, hand: Hand) -> None:
        self.grader, self.hand = grader, hand

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        """As `Grades.grade`."""
        with self.hand.at("grading"):
            return self.grader.grade(solutions)
