"""A server that answers what no answer can be costs nobody a row while another is there; else a line ends the run."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from tasks.decoding.requests import Sampling, ScoreRequest, StepRequest
from tasks.decoding.trajectory import Failure
from tasks.engines import answers, endpoint, endpoint_pool
from tasks.engines.endpoint_pool import visit, weight
from tasks.engines.server_faults import Malformed
from tasks.engines.spec import Died
from tasks.errors import EngineError, UserError

from .fake_server import By, FakeServer, scored, written
from .lies import CLASSES, COMPLETIONS, LIES, ROW, choice, status, text
from .openai_scenes import VOCABULARY, asks, opened, serving, spec, supervised

SHORT: dict[str, Any] = {"patience": 0.05, "concurrency": 4}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", 0.002)
    monkeypatch.setattr(endpoint_pool, "LONGEST_OUT", 0.01)
    monkeypatch.setattr("tasks.engines.supervision.PAUSE", 0.0)


def of_homes(servers: list[FakeServer], each: int) -> list[StepRequest]:
    """Asks of which so many go to each server first."""
    found: dict[str, list[StepRequest]] = {server.url: [] for server in servers}
    for ask in asks(90):
        first = max(found, key=lambda url: weight(ask.affinity, url))
        found[first].append(ask)
    return [ask for some in found.values() for ask in some[:each]]


def hurry(pool: endpoint_pool.EndpointPool) -> None:
    """Wait no longer for the first server, which lies; who else is slow on a slow machine has all the time."""
    pool.endpoints[0].timeout = 0.05


def is_one_line(told: str) -> bool:
    return told.isprintable() and len(told) <= 1200


@pytest.mark.parametrize("lie", LIES)
async def test_beside_a_server_that_lies_all_rows_complete(lie: str) -> None:
    told: list[str] = []
    async with serving(2) as servers, supervised(servers, told.append, **SHORT) as draft:
        hurry(draft.engine.pool)  # type: ignore[union-attr]
        servers[0].trouble = lambda prompt: LIES[lie]
        some = of_homes(servers, 5)
        assert await draft.ask(some) == [written(ask) for ask in some]
    assert any(f"{servers[0].url} is left out" in line for line in told)
    assert all(is_one_line(line) for line in told)


@pytest.mark.parametrize("lie", LIES)
async def test_a_server_that_lies_and_is_alone_ends_the_run_in_a_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """Or costs its rows, where it says that they are at fault."""
    begin = endpoint_pool.EndpointPool.open

    async def open_and_hurry(of: endpoint_pool.EndpointPool) -> None:
        await begin(of)
        hurry(of)

    monkeypatch.setattr(endpoint_pool.EndpointPool, "open", open_and_hurry)
    told: list[str] = []
    async with serving() as servers, supervised(servers, told.append, restarts=1, **SHORT) as draft:
        servers[0].trouble = lambda prompt: LIES[lie]
        try:
            found = await draft.ask(asks(5))
        except EngineError as error:
            told.append(str(error))
            assert servers[0].url in told[-1]
        else:
            assert all(isinstance(answer, Failure) for answer in found)
            told += [answer.error for answer in found if isinstance(answer, Failure)]
            assert "refuses" in lie or "refusal" in lie
    assert all(is_one_line(line) for line in told)


@pytest.mark.parametrize("lie", CLASSES)
async def test_rewards_come_from_the_server_that_does_not_lie(lie: str) -> None:
    looks = [ScoreRequest([1, n], n) for n in range(20)]
    async with serving(2) as servers, supervised(servers, role="prm", **SHORT) as prm:
        servers[0].trouble = lambda prompt: CLASSES[lie]
        assert await prm.ask(looks) == [scored(look) for look in looks]
    async with serving() as servers, supervised(servers, role="prm", restarts=0, **SHORT) as prm:
        servers[0].trouble = lambda prompt: CLASSES[lie]
        with pytest.raises(EngineError, match=rf"{servers[0].url}: its /classify gives") as error:
            await prm.ask(looks)
        assert is_one_line(str(error.value))


async def test_a_lie_told_once_is_asked_again_and_forgotten() -> None:
    async with serving() as servers, opened(servers, concurrency=8) as engine:
        server = servers[0]
        server.trouble = lambda prompt: LIES["an id below 0"] if server.asked[tuple(prompt)] == 1 else None
        for _ in range(3):
            server.asked.clear()
            assert await engine.ask(asks(1)) == [written(asks(1)[0])]
        assert engine.death is None


async def test_a_row_that_every_server_lies_about_is_given_up() -> None:
    async with serving(2) as servers, supervised(servers, **SHORT) as draft:
        for server in servers:
            server.trouble = lambda prompt: LIES["an id below 0"] if prompt[1] == 4 else None
        found = await draft.ask(asks(9))
        assert isinstance(found[4], Failure)
        assert "token_ids.0: Input should be greater than or equal to 0" in found[4].error
        assert found[:4] + found[5:] == [written(ask) for ask in asks(9) if ask.seed != 4]


async def test_what_two_servers_lie_about_the_third_is_asked() -> None:
    async with serving(3) as servers, opened(servers, concurrency=8) as engine:
        for server in servers[:2]:
            server.trouble = lambda prompt: LIES["an id below 0"]
        some = of_homes(servers, 4)
        assert await engine.ask(some) == [written(ask) for ask in some]


async def test_one_that_refuses_what_another_answers_is_left_out() -> None:
    told: list[str] = []
    async with serving(2) as servers, opened(servers, warn=told.append) as engine:
        servers[0].trouble = lambda prompt: LIES["refuses everything"]
        some = of_homes(servers, 1)
        assert await engine.ask(some) == [written(ask) for ask in some]
        assert f"{servers[0].url} is left out for now: it refused what another endpoint answered (too long)" in told[0]


async def test_one_request_at_a_time_finds_out_a_server_that_failed_again_and_again() -> None:
    async with serving(2) as servers, opened(servers, concurrency=16) as engine:
        servers[0].trouble = lambda prompt: LIES["an id below 0"]
        some = of_homes(servers, 16)
        assert await engine.ask(some) == [written(ask) for ask in some]
        while engine.pool.endpoints[0].faults < 2 or not engine.pool.endpoints[0].up:
            await engine.ask(some)
        servers[0].most = 0
        servers[0].trouble = lambda prompt: LIES["an id below 0"]
        assert await engine.ask(some) == [written(ask) for ask in some]
        assert servers[0].most <= 1
        servers[0].trouble = lambda prompt: None
        while engine.pool.endpoints[0].faults:
            await engine.ask(some)
        assert await engine.ask(some) == [written(ask) for ask in some]
        assert servers[0].most > 1


async def test_a_deadline_is_for_the_whole_of_an_answer() -> None:
    async with serving() as servers, opened(servers, concurrency=8) as engine:
        hurry(engine.pool)
        servers[0].trouble = lambda prompt: LIES["drips of a body"]
        (found,) = await engine.ask(asks(1))
        assert isinstance(found, Died)
        assert "no whole answer within 0.05 s" in found.reason


async def test_what_servers_send_without_end_takes_no_memory() -> None:
    """With as many requests in flight as are usual."""
    slow = ("hints", "of a byte")
    lies = [lie for name, lie in LIES.items() if "without end" in name and not any(word in name for word in slow)]
    async with serving(2) as servers, opened(servers, concurrency=64) as engine:
        some = of_homes(servers, 16)
        turn = iter(lies * 99)
        servers[0].trouble = lambda prompt: next(turn)
        tracemalloc.start()
        try:
            for _ in range(2):
                assert await engine.ask(some) == [written(ask) for ask in some]
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 100 << 20


def test_an_answer_has_room_for_all_that_was_asked_for() -> None:
    """The longest tokens that there are, repeated, and all that is said beside them."""
    token = " " * 128
    row: dict[str, Any] = {"token_ids": [2**31 - 1] * 4096, "prompt_token_ids": [2**31 - 1] * 4096}
    row |= {"text": token * 4096, "index": 0, "finish_reason": "length", "stop_reason": None, "prompt_logprobs": None}
    assert len(json.dumps(row, separators=(",", ":"))) < answers.room(4096, 4096)
    logs = {"tokens": [token] * 4096, "text_offset": [999_999] * 4096, "token_logprobs": [-12.345678901234567] * 4096}
    logs["top_logprobs"] = [{token: -12.345678901234567}] * 4096
    assert len(json.dumps(row | {"logprobs": logs}, separators=(",", ":"))) < answers.room(4096, 4096, logprobs=True)


LISTS: dict[str, Any] = {
    "null": None,
    "a list": [],
    "no data": {"object": "list"},
    "data of texts": {"data": ["m"]},
    "a name that is a number": {"data": [{"id": 7}]},
    "no name": {"data": [{"id": ""}]},
    "a name without end": {"data": [{"id": "m" * 9000}]},
    "many models": {"data": [{"id": f"\x1b[31m{n}"} for n in range(5000)]},
    "a window that is text": {"data": [{"id": "m", "max_model_len": "long"}]},
    "a window that is infinite": {"data": [{"id": "m", "max_model_len": float("inf")}]},
    "a window that is true": {"data": [{"id": "m", "max_model_len": True}]},
    "a window below 0": {"data": [{"id": "m", "max_model_len": -5}]},
}
GREETINGS: dict[str, tuple[str, By]] = (
    {f"models: {name}": ("/v1/models", text(json.dumps(listed).encode())) for name, listed in LISTS.items()}
    | {f"models: {name}": ("/v1/models", lie) for name, lie in LIES.items() if "drips" in name or "without" in name}
    | {f"models: {code}": ("/v1/models", status(code, b"[" * 9000)) for code in (302, 401, 404, 429, 500, 503)}
    | {
        f"tokens: {name}": ("/tokenize", text(json.dumps(found).encode()))
        for name, found in {"null": None, "text": {"tokens": "1 2"}, "far": {"tokens": [10**400]}, "none": {}}.items()
    }
    | {f"tokens: {name}": ("/tokenize", LIES[name]) for name in ("deep lists", "drips of a body", "a body without end")}
    | {f"completions: {name}": ("/v1/completions", LIES[name]) for name in (*COMPLETIONS, "deep lists", "silence")}
)


@pytest.mark.parametrize("lie", GREETINGS)
async def test_one_that_lies_when_it_is_greeted_is_told_in_a_line(lie: str) -> None:
    path, answer = GREETINGS[lie]
    async with serving() as servers:
        servers[0].greeting[path] = answer
        try:
            found = await visit(spec(servers, timeout=0.3, **SHORT), VOCABULARY)
        except UserError as error:
            told = str(error)
        else:
            told = found[servers[0].url]
            assert told.startswith("away now: ")
        assert is_one_line(told)


async def test_the_start_does_not_wait_for_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_pool, "LAGGARDS", 0.1)
    async with serving(2) as servers:
        servers[0].greeting["/v1/models"] = LIES["silence"]
        found = await visit(spec(servers), VOCABULARY)
        assert found == {servers[0].url: "away now: no answer within 0.1 s", servers[1].url: "serves m"}
        async with opened(servers, concurrency=8) as engine:
            assert await engine.ask(asks(9)) == [written(ask) for ask in asks(9)]


async def test_a_key_stays_with_the_address_that_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "right")
    async with serving(3) as servers:
        for server in servers:
            server.key = "right"
        thief = servers.pop()
        for code in (301, 302, 303, 307, 308):
            away = status(code, location=f"{thief.url}/v1/completions")
            async with opened(servers, concurrency=2, api_key_env="SOME_KEY") as engine:
                servers[0].trouble = lambda prompt: away  # noqa: B023
                some = of_homes(servers, 2)
                assert await engine.ask(some) == [written(ask) for ask in some]
        assert not thief.bodies


async def test_what_a_server_wants_kept_is_not_kept() -> None:
    async with serving() as servers, opened(servers, concurrency=8) as engine:
        good = json.dumps(choice(**(ROW | {"token_ids": [20, 0, 300, 7], "stop_reason": None}))).encode()
        servers[0].trouble = lambda prompt: status(200, good, **{"set-cookie": "a=b; Path=/"})
        await engine.ask(asks(1))
        assert not any(client.cookies for client in engine.pool.endpoints[0]._clients)


SURE = [-0.5, -0.25, -0.125, 0.0]
LOGS: dict[str, Any] = {
    "null": None,
    "a list": [],
    "one too few": {"token_logprobs": SURE[:3]},
    "one too many": {"token_logprobs": [*SURE, -1.0]},
    "text": {"token_logprobs": ["-0.5"] * 4},
    "true": {"token_logprobs": [True] * 4},
    "above 0": {"token_logprobs": [*SURE[:3], 0.5]},
    "1e308": {"token_logprobs": [*SURE[:3], 1e308]},
}


@pytest.mark.parametrize("lie", LOGS)
async def test_how_sure_a_server_is_must_be_a_logarithm_for_each_token(lie: str) -> None:
    some = [replace(ask, sampling=Sampling(0.0, 1.0, "\n\n", "mean")) for ask in asks(6)]
    async with serving(2) as servers:
        for server in servers:
            server.completion["logprobs"] = {"token_logprobs": SURE}
        async with opened(servers, concurrency=8) as engine:
            servers[0].completion["logprobs"] = LOGS[lie]
            found = await engine.ask(some)
    assert {answer.confidence for answer in found} == {math.exp(-0.21875)}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "logs",
    [None, {}, {"top_logprobs": []}, {"top_logprobs": [None]}, {"top_logprobs": [{"token_id:5": -1.0}]}]
    + [{"top_logprobs": [{"token_id:5": -1.0, "token_id:6": bad}]} for bad in ("-1", {}, 1e308, [])],
)
def test_the_classes_of_a_rating_must_all_be_there(logs: Any) -> None:
    found = answers.Completion(choice(token_ids=[5], logprobs=logs), 512, 3, 1, "\n\n")
    with pytest.raises(Malformed, match="ignore logprob_token_ids"):
        found.chances([5, 6])


def test_a_score_that_is_no_number_passes_for_what_it_is() -> None:
    for pair in (b"NaN,NaN", b"null,null", b"0.5,null"):
        found = answers.probabilities(answers.parsed(b'{"data":[{"probs":[%s]}]}' % pair), 2)
        assert math.isnan(found[1]), pair
    assert answers.probabilities(answers.parsed(b'{"data":[{"probs":[0.0,Infinity]}]}'), 2)[1] == math.inf
    body = b'{"choices":[{"token_ids":[5],"finish_reason":"length","stop_reason":null,"logprobs":%s}]}'
    rated = answers.parsed(body % b'{"top_logprobs":[{"token_id:5":NaN,"token_id:6":-Infinity}]}')
    first, second = answers.Completion(rated, 512, 3, 1, None).chances([5, 6])
    assert math.isnan(first)
    assert second == -math.inf
