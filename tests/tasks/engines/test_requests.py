"""A kind of request that engines do not know yet costs an entry in each kind of engine, and nothing in between."""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tasks.decoding.requests import Request, Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure, Ids
from tasks.engines import KINDS, open_engines
from tasks.engines.openai import OpenAIEngine
from tasks.engines.spec import EngineSpec
from tasks.engines.vllm_requests import Language
from tasks.generation.metered_models import MeteredEngine
from tasks.telemetry.metering import Meters

from .fakes import play
from .openai_scenes import VOCABULARY, opened, serving

SPEC = EngineSpec("draft", "m", "scripted", 4096, {"refuse": " 5 spoons.", "crash": " 6 spoons."})


@dataclass(slots=True)
class Length:
    """An answer that no engine gives yet."""

    tokens: int


@dataclass(slots=True)
class LengthRequest(Request[Length]):
    prompt: Ids
    affinity: int = 0


def length(request: LengthRequest) -> Length:
    return Length(len(request.prompt))


def prompts(number: int) -> list[Ids]:
    return [array("i", ids) for ids in VOCABULARY.prompts([f"Milo has {n} spoons." for n in range(number)])]


@pytest.mark.parametrize(
    "changes", [{}, {"replicas": ({}, {}, {})}, {"turns": "card"}, {"replicas": ({}, {}), "turns": "card"}]
)
def test_what_lies_between_passes_it_on(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, beside other kinds in one call; a request that is refused or that the engine dies on is a Failure."""
    usual = KINDS["scripted"].open_engine

    async def taught(*of: Any) -> Any:
        engine = await usual(*of)
        engine.answers[LengthRequest] = length
        return engine

    monkeypatch.setitem(KINDS, "scripted", replace(KINDS["scripted"], open_engine=taught))
    some = prompts(8)
    requests: list[Request[Any]] = []
    for n, prompt in enumerate(some):
        requests += [StepRequest(prompt, 9, 0, n), ScoreRequest(prompt, n), LengthRequest(prompt, n)]
    meters = Meters()

    async def scene() -> list[Any]:
        opening = open_engines([replace(SPEC, **changes)], {"draft": VOCABULARY}, print, print, 9, 600)
        async with opening as engines:
            return await MeteredEngine("draft", engines["draft"], meters).ask(requests)

    found = play(scene())
    for n, answers in enumerate(zip(found[::3], found[1::3], found[2::3], strict=True)):
        if n in (5, 6):
            assert all(isinstance(answer, Failure) for answer in answers)
        else:
            assert [type(answer) for answer in answers] == [Written, Scored, Length]
            assert answers[2] == Length(len(some[n]))
    assert meters.accounts()["roles"]["draft"]["requests"] == len(requests)


async def test_an_engine_of_servers_needs_an_entry() -> None:
    async def measured(request: LengthRequest) -> Length:
        await asyncio.sleep(0)
        return length(request)

    async with serving() as servers, opened(servers) as engine:
        assert isinstance(engine, OpenAIEngine)
        engine.answers[LengthRequest] = measured
        long, step = await engine.ask(
            [LengthRequest(array("i", [1, 2, 3])), StepRequest(array("i", [20, 1, 301]), 8, 1)]
        )
    assert long == Length(3)
    assert isinstance(step, Written)


def test_an_engine_of_vllm_needs_an_entry() -> None:
    language = Language(None)
    language.kinds[LengthRequest] = lambda request: ("params", lambda output, proposed: length(request))
    params, read = language.params(LengthRequest(array("i", [1, 2])))
    assert (params, read(None, None)) == ("params", Length(2))
