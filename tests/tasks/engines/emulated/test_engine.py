"""An emulated engine answers what a scripted one does, and keeps an engine's promises."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tasks.decoding.requests import Request, Sampling, ScoreRequest, StepRequest
from tasks.decoding.trajectory import Failure
from tasks.engines.scripted import Script, ScriptedEngine
from tasks.engines.spec import Died
from tasks.models.tokenizer import ModelVocabulary

from .conftest import Open


def requests(vocabulary: ModelVocabulary) -> list[Request[Any]]:
    prompts = vocabulary.prompts([f"Milo has {n} spoons and a long way to go." for n in range(8)])
    warm = Sampling(0.7, 1.0, "\n\n", "mean")
    return [
        *(StepRequest(ids, 200, 3) for ids in prompts),
        *(StepRequest(ids, 5, n, 0, warm) for n, ids in enumerate(prompts)),
        *(ScoreRequest(ids) for ids in prompts),
    ]


def plain(answers: Sequence[Any]) -> list[Any]:
    return [replace(answer, cached=0) for answer in answers]


@pytest.mark.parametrize("arguments", [{}, {"tokens_per_step": 40, "steps": 2}])
def test_it_answers_what_scripted_answers_cached_or_not(
    arguments: dict[str, Any], opened: Open, vocabulary: ModelVocabulary
) -> None:
    some = requests(vocabulary)

    async def scene() -> list[list[Any]]:
        engine = await opened(**arguments)
        answers = [await engine.ask(some) for _ in range(2)]
        answers.append([(await engine.ask([request]))[0] for request in some])
        assert engine.answered == 3 * len(some)
        await engine.close()
        return [*answers, await ScriptedEngine(Script(**arguments), vocabulary).ask(some)]

    cold, warm, alone, scripted = asyncio.run(scene())
    assert plain(cold) == plain(warm) == plain(alone) == plain(scripted)
    lengths = [(len(request.prompt) - 1) // 16 * 16 for request in some]
    assert [answer.cached for answer in warm] == [answer.cached for answer in alone] == lengths
    assert sum(answer.cached for answer in cold) < sum(lengths)


def test_each_request_is_answered_in_the_iteration_that_ends_it(opened: Open) -> None:
    some = [StepRequest(array("i", range(n, n + 20)), 200, 0) for n in range(30)]

    async def scene() -> None:
        engine = await opened(tokens_per_step=50)
        told: dict[int, tuple[float, int]] = {}

        def answered(number: int, answer: Any) -> None:
            assert number not in told
            told[number] = (engine.machine.time, len(answer.token_ids))

        await engine.ask(some, answered)
        in_time = sorted(told.values())
        assert len(in_time) == 30
        lengths = [length for _, length in in_time]
        assert lengths == sorted(lengths)
        assert len({time for time, _ in in_time}) == len(set(lengths)) > 10
        await engine.close()

    asyncio.run(scene())


def test_reset_drops_what_is_cached(opened: Open) -> None:
    async def scene() -> list[int]:
        engine = await opened(host_cache_tokens=1000)
        ask = [ScoreRequest(array("i", range(100)))]
        found = []
        for _ in range(2):
            found.append((await engine.ask(ask))[0].cached)  # type: ignore[union-attr]
        await engine.reset_prefix_cache()
        found.append((await engine.ask(ask))[0].cached)  # type: ignore[union-attr]
        await engine.close()
        return found

    assert asyncio.run(scene()) == [0, 96, 0]


def test_texts_break_it_as_they_do_a_scripted_one(opened: Open, vocabulary: ModelVocabulary) -> None:
    good, bad = vocabulary.prompts(["Milo has spoons.", "Milo has forks."])

    async def scene() -> None:
        engine = await opened(refuse=" forks.")
        answers = await engine.ask([StepRequest(ids, 50, 0) for ids in (bad, good)])
        assert answers[0] == Failure("refused by its script")
        assert not isinstance(answers[1], Failure | Died)
        await engine.close()
        crashing = await opened(crash=" forks.")
        early = asyncio.create_task(crashing.ask([StepRequest(good, 50, 0)]))
        for _ in range(3):
            await asyncio.sleep(0)
        died = Died("crashed by its script")
        assert await crashing.ask([StepRequest(bad, 50, 0)]) == [died]
        assert await early == [died]
        assert await crashing.ask([StepRequest(good, 50, 0)]) == [died]
        assert crashing.death == died
        await crashing.close()

    asyncio.run(scene())


def test_what_can_never_fit_the_cache_is_refused(opened: Open) -> None:
    async def scene() -> None:
        engine = await opened(cache_tokens=64)
        answers = await engine.ask([ScoreRequest(array("i", range(n))) for n in (65, 64)])
        assert answers[0] == Failure("65 tokens do not fit a cache of 64")
        assert not isinstance(answers[1], Failure)
        await engine.close()

    asyncio.run(scene())


def test_a_call_that_is_cancelled_leaves_nothing_under_way(opened: Open) -> None:
    async def scene() -> None:
        engine = await opened()
        asking = asyncio.create_task(engine.ask([ScoreRequest(array("i", range(10_000)))]))
        for _ in range(3):
            await asyncio.sleep(0)
        assert engine.under_way
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert not engine.under_way
        assert not engine.cache.held
        before = engine.progress()
        await engine.ask([ScoreRequest(array("i", range(100)))])
        assert engine.progress() > before
        await engine.close()

    asyncio.run(scene())


def test_the_last_to_close_says_what_the_cards_did(opened: Open) -> None:
    async def scene() -> list[str]:
        said: list[str] = []
        engines = [await opened(role, said, device_ids=[n]) for n, role in enumerate(("draft", "prm"))]
        await engines[0].ask([ScoreRequest(array("i", range(8192)))] * 40)
        await engines[1].ask([ScoreRequest(array("i", range(8192)))] * 5)
        for engine in engines:
            assert not said
            await engine.close()
        return said

    (line,) = asyncio.run(scene())
    assert line.startswith("0.")
    assert "s passed on the 2 emulated cards, at work 50% of it (card-seconds: draft 0." in line
