"""Scripted engines can be told to break, so that a run's answer to that can be rehearsed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from schemas.config import ModelConfig, PromptConfig
from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure
from tasks.engines import open_engines
from tasks.engines.scripted import open_engine
from tasks.engines.spec import Died, EngineSpec
from tasks.models.tokenizer import ModelVocabulary

from .fakes import play

DRAFT = Path(__file__).parents[3] / "deploy" / "demo" / "models" / "draft"


@pytest.fixture(scope="module")
def vocabulary() -> ModelVocabulary:
    return ModelVocabulary("draft", ModelConfig(model=str(DRAFT)), PromptConfig())


def spec(**arguments: object) -> EngineSpec:
    return EngineSpec("draft", "m", "scripted", 4096, arguments)


def asks(vocabulary: ModelVocabulary, stop: int) -> list[StepRequest]:
    return [StepRequest(ids, 100, 0) for ids in vocabulary.prompts([f"Milo has {n} spoons." for n in range(stop)])]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"crash": " 5 spoons."}, "crashed by its script"),
        ({"stall": " 5 spoons."}, "it gave no answer for 600 s"),
        ({"crash": " 5 spoons.", "seconds": 50}, "crashed by its script"),
    ],
)
def test_what_breaks_an_engine_is_given_up_and_nothing_else(
    vocabulary: ModelVocabulary, arguments: dict[str, object], reason: str
) -> None:
    some = asks(vocabulary, 20)

    async def scene(**arguments: object) -> list[Written | Failure]:
        said: list[str] = []
        opened = open_engines([spec(**arguments)], {"draft": vocabulary}, said.append, said.append, 5, 600)
        async with opened as engines:
            write = engines["draft"].ask
            one, other = await asyncio.gather(write(some[:10]), write(some[10:]))
        assert len(said) == (5 if arguments else 1)
        return one + other

    plain = play(scene())
    assert all(isinstance(result, Written) for result in plain)
    assert play(scene(**arguments)) == [*plain[:5], Failure(f"the engine died on this: {reason}"), *plain[6:]]


def test_an_engine_dies_as_a_whole_and_for_good(vocabulary: ModelVocabulary) -> None:
    good, bad = asks(vocabulary, 5), asks(vocabulary, 6)

    async def scene() -> None:
        engine = await open_engine(spec(crash=" 5 spoons.", seconds=10), vocabulary, print)
        early = asyncio.create_task(engine.ask(good))
        await asyncio.sleep(5)
        fatal = asyncio.create_task(engine.ask(bad))
        await asyncio.sleep(1)
        late = asyncio.create_task(engine.ask(good))
        assert all(isinstance(result, Written) for result in await early)
        died = Died("crashed by its script")
        assert await fatal == [died] * 6
        assert await late == [died] * 5
        assert await engine.ask([ScoreRequest(ask.prompt, 0) for ask in good]) == [died] * 5
        again = await open_engine(spec(crash=" 5 spoons."), vocabulary, print)
        assert all(
            isinstance(result, Scored) for result in await again.ask([ScoreRequest(ask.prompt, 0) for ask in good])
        )

    play(scene())
