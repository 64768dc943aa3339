"""A role on servers elsewhere: what they are asked, and what is made of their answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import web

from tasks.decoding.requests import Sampling, Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.rewards import reward_of
from tasks.decoding.trajectory import Failure
from tasks.engines.openai import open_engine
from tasks.engines.spec import Died

from .fake_server import FakeServer, refusal, scored, written
from .openai_scenes import VOCABULARY, asks, opened, serving, spec

pytestmark = pytest.mark.usefixtures("impatient")


async def test_what_is_written_comes_in_order_with_how_it_ended_and_what_was_cached() -> None:
    some = [*asks(30), StepRequest([20, 9, 300], 3, 0)]
    async with serving() as servers, opened(servers) as engine:
        answers = await engine.ask(some)
        assert answers == [written(ask) for ask in some]
        assert {answer.finish for answer in answers} == {"step", "eos", "length"}  # type: ignore[union-attr]
        assert engine.answered == len(some)


async def test_rewards_are_the_probability_of_the_last_class() -> None:
    looks = [ScoreRequest([1, n], n) for n in range(20)]
    async with serving() as servers, opened(servers, "prm") as engine:
        assert await engine.ask(looks) == [scored(look) for look in looks]


async def test_a_server_is_told_all_that_decides_what_is_written() -> None:
    """What is not told it would take from the model's generation_config."""
    async with serving() as servers, opened(servers) as engine:
        await engine.ask([StepRequest([20, 21], 8, seed=-5, sampling=Sampling(0.7, 0.9, "\n\n"))])
        await engine.ask([StepRequest([20, 21], 8, seed=-5)])
        sampled, greedy = servers[0].bodies
    assert sampled == {
        "model": "m",
        "prompt": [20, 21],
        "max_tokens": 8,
        "seed": -5,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop": ["\n\n"],
        "include_stop_str_in_output": True,
        "return_token_ids": True,
    }
    assert "seed" not in greedy


async def test_a_server_that_ceases_to_tell_log_probabilities_is_left_out() -> None:
    """What it wrote is asked of another."""
    some = [replace(ask, sampling=Sampling(0.0, 1.0, "\n\n", "min")) for ask in asks(40)]
    said: list[str] = []
    async with serving(2) as servers, AsyncExitStack() as stack:
        for server in servers:
            server.completion["logprobs"] = {"token_logprobs": [-0.5]}
        engine = await open_engine(replace(spec(servers), asks_confidence=True), VOCABULARY, said.append)
        stack.push_async_callback(engine.close)
        servers[0].completion["logprobs"] = None
        servers[1].completion["logprobs"] = {"token_logprobs": [-0.5, 0.0, -0.25, -0.1]}
        answers = await engine.ask(some)
    assert [answer.confidence for answer in answers] == [pytest.approx(math.exp(-0.5))] * 40  # type: ignore[union-attr]
    assert all(f"{servers[0].url} is left out for now: its completions carry no log-prob" in line for line in said)
    assert said


NOT_JSON = "Out of range float values are not JSON compliant"


def probs(text: str) -> web.Response:
    return web.Response(text=f'{{"data": [{{"probs": {text}}}]}}', content_type="application/json")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: refusal(400, NOT_JSON),  # as vLLM's servers
        lambda: probs("[NaN, NaN]"),
        lambda: probs("[null, null]"),
        lambda: probs("[0.25, NaN]"),
        lambda: probs("[null, 0.25]"),
        lambda: probs("[Infinity, 0.0]"),
    ],
)
async def test_a_prompt_without_a_reward_costs_no_server_its_standing(answer: Callable[[], web.Response]) -> None:
    """The core is given a figure that is none, of this prompt alone."""
    looks = [ScoreRequest([1, n], n) for n in range(8)]
    async with serving() as servers, opened(servers, "prm", warn=pytest.fail) as engine:
        servers[0].trouble = lambda prompt: answer() if prompt[1] == 3 else None
        found = await engine.ask(looks)
        assert [f for n, f in enumerate(found) if n != 3] == [scored(look) for n, look in enumerate(looks) if n != 3]
        assert isinstance(found[3], Scored)
        assert reward_of(found[3].reward) is None
        assert servers[0].asked[1, 3] == 1


async def test_a_server_that_has_none_for_the_first_question_may_have_some_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post = FakeServer._post

    async def answered(self: FakeServer, request: web.Request) -> web.StreamResponse:
        asked = (await request.json()).get("input")
        return refusal(400, NOT_JSON) if asked == self.probe else await post(self, request)

    monkeypatch.setattr(FakeServer, "_post", answered)
    async with serving() as servers, opened(servers, "prm") as engine:
        assert await engine.ask([ScoreRequest([1, 5], 0)]) == [scored(ScoreRequest([1, 5], 0))]


async def test_what_a_server_tells_of_a_token_without_a_probability_is_no_confidence() -> None:
    some = [replace(ask, sampling=Sampling(0.0, 1.0, "\n\n", "min")) for ask in asks(4)]
    async with serving() as servers:
        servers[0].completion["logprobs"] = {"token_logprobs": [-0.5]}  # the handshake's one token
        async with AsyncExitStack() as stack:
            engine = await open_engine(replace(spec(servers), asks_confidence=True), VOCABULARY, pytest.fail)
            stack.push_async_callback(engine.close)
            for odd in (None, -9999.0, float("nan")):
                servers[0].completion["logprobs"] = {"token_logprobs": [-0.5, odd, -0.25, -0.1]}
                for answer in await engine.ask(some):
                    assert isinstance(answer, Written)
                    assert answer.confidence is not None
                    assert reward_of(answer.confidence) is None


async def test_a_prompt_that_is_refused_costs_nobody_else() -> None:
    async with serving() as servers, opened(servers) as engine:
        servers[0].trouble = lambda prompt: refusal(400, "the prompt is\ntoo long") if prompt[1] == 3 else None
        some = asks(8)
        expected = [Failure("the prompt is too long") if n == 3 else written(ask) for n, ask in enumerate(some)]
        assert await engine.ask(some) == expected
        assert servers[0].asked[20, 3, 303] == 1


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    async with serving(2) as servers, opened(servers, concurrency=3) as engine:
        assert await engine.ask(asks(60)) == [written(ask) for ask in asks(60)]
        assert all(1 < server.most <= 3 for server in servers)


async def test_an_engine_that_is_killed_lets_go_at_once() -> None:
    async with serving() as servers, opened(servers) as engine:
        servers[0].trouble = lambda prompt: "hang" if prompt[1] else None
        call = asyncio.create_task(engine.ask(asks(4)))
        while engine.answered == 0 or servers[0].in_flight < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        engine.kill("enough")
        assert await call == [written(asks(1)[0])] + [Died("enough")] * 3
        assert await engine.ask([ScoreRequest([1], 0)]) == [Died("enough")]


async def test_a_call_that_is_cancelled_leaves_the_engine_in_order() -> None:
    async with serving() as servers, opened(servers, concurrency=2) as engine:
        servers[0].trouble = lambda prompt: "hang"
        call = asyncio.create_task(engine.ask(asks(6)))
        await servers[0].arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        servers[0].trouble = lambda prompt: None
        assert await engine.ask(asks(6)) == [written(ask) for ask in asks(6)]
