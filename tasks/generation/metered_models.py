"""The models of a run, with their calls metered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from tasks.decoding.models import Models, StepFormat, Vocabulary
from tasks.decoding.requests import Answer, Answered, InferenceEngine, Request, unheard
from tasks.decoding.trajectory import Failure, Ids
from tasks.engines.turns import InTurn
from tasks.grading import Grade, Grades, Question, Ungraded
from tasks.telemetry.metering import Meters, StageTimer

TOKENIZING = "tokenizing"
TURNS = "waiting for a turn"


def metered(models: Models, timer: StageTimer) -> Models:
    """The same models, with their calls and the time around them metered. `timer` is that of the event loop's
    thread."""
    writers = {
        role: replace(
            model,
            engine=MeteredEngine(role, model.engine, timer.meters),
            vocabulary=MeteredVocabulary(model.vocabulary, timer),
        )
        for role, model in models.writers.items()
    }
    prm = models.prm
    if prm is not None:
        engine = MeteredEngine("prm", prm.engine, timer.meters)
        prm = replace(prm, engine=engine, format=MeteredFormat(prm.format, timer))
    return Models(writers, prm, models.limits, models.seed, models.sampling, models.trial, timer.working)


class MeteredEngine:
    """An engine whose calls are metered. One that takes turns with others is not busy before its turn."""

    def __init__(self, role: str, engine: InferenceEngine, meters: Meters) -> None:
        self.role, self.engine, self.meters = role, engine, meters

    async def ask(self, requests: Sequence[Request[Answer]], answered: Answered = unheard) -> list[Answer | Failure]:
        """As `InferenceEngine.ask`."""
        async with AsyncExitStack() as turn:
            engine: Any = self.engine
            if isinstance(engine, InTurn):
                with self.meters.at(TURNS):
                    engine = await turn.enter_async_context(engine.turn(len(requests)))
            with self.meters.call(self.role, len(requests)) as returned:

                def told(number: int, answer: Any) -> None:
                    returned()
                    answered(number, answer)

                return await engine.ask(requests, told)


class MeteredFormat:
    """A `StepFormat` whose time counts as tokenizing."""

    def __init__(self, format: StepFormat, timer: StageTimer) -> None:
        self.format, self.timer = format, timer
        self.tail = format.tail

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `StepFormat.encode_steps`."""
        with self.timer.at(TOKENIZING):
            return self.format.encode_steps(texts, numbers)


class MeteredVocabulary:
    """A `Vocabulary` whose time counts as tokenizing."""

    def __init__(self, vocabulary: Vocabulary, timer: StageTimer) -> None:
        self.vocabulary, self.timer = vocabulary, timer
        self.key = vocabulary.key

    def encode_steps(self, texts: list[str]) -> list[Ids]:
        """As `Vocabulary.encode_steps`."""
        with self.timer.at(TOKENIZING):
            return self.vocabulary.encode_steps(texts)

    def decode_steps(self, ids: Sequence[Ids]) -> list[str]:
        """As `Vocabulary.decode_steps`."""
        with self.timer.at(TOKENIZING):
            return self.vocabulary.decode_steps(ids)


class MeteredGrader:
    """`Grades` whose time counts as grading."""

    def __init__(self, grader: Grades, timer: StageTimer) -> None:
        self.grader, self.timer = grader, timer

    def grade(self, solutions: Sequence[Ungraded]) -> list[Grade]:
        """As `Grades.grade`."""
        with self.timer.at("grading"):
            return self.grader.grade(solutions)

    def equal(self, pairs: Sequence[tuple[Question, str, str]]) -> list[bool]:
        """As `Grades.equal`."""
        with self.timer.at("grading"):
            return self.grader.equal(pairs)
