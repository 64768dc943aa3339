"""Servers that are not what the configuration takes them for are told, and get no work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.engines.endpoint_pool import served_as, visit
from tasks.engines.openai import open_engine
from tasks.engines.spec import Scoring
from tasks.errors import UserError
from tasks.models.model_files import SERVED

from .fake_server import FakeServer, written
from .openai_scenes import VOCABULARY, asks, opened, serving, spec

pytestmark = pytest.mark.usefixtures("impatient")


def spoil(**fields: Any) -> Callable[[FakeServer], None]:
    def change(server: FakeServer) -> None:
        for name, value in fields.items():
            setattr(server, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "role", "arguments", "words"),
    [
        (spoil(key="s"), "draft", {}, "401 (Unauthorized); set api_key_env"),
        (spoil(key="s"), "draft", {"api_key_env": "SOME_KEY"}, "it does not take the key in SOME_KEY"),
        (spoil(), "draft", {"model": "other"}, "it serves m; set model to that"),
        (spoil(models=[{"id": "a"}, {"id": "b"}]), "draft", {}, "it serves a, b; say which as model"),
        (spoil(models=7), "draft", {}, "its /v1/models is no list of models"),
        (
            spoil(models=[{"id": "m", "max_model_len": 2048}]),
            "draft",
            {},
            "it takes 2,048 tokens and the run wants 4,096; set max_model_len: 2048, or start it with "
            "--max-model-len 4096",
        ),
        (spoil(tokens=[1, 2]), "draft", {}, "its tokenizer is another one"),
        (spoil(completion={"token_ids": None}), "draft", {}, "its completions carry no token_ids"),
        (spoil(paths=set()), "draft", {}, "404 (Not Found); it must serve /v1/completions"),
        (spoil(paths={"/v1/completions"}), "prm", {}, '--runner pooling --hf-overrides \'{"architectures"'),
    ],
)
async def test_a_server_that_is_not_what_it_should_be_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[FakeServer], None],
    role: str,
    arguments: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setenv("SOME_KEY", "wrong")
    async with serving(2) as servers:
        change(servers[1])
        with pytest.raises(UserError) as told:
            async with opened(servers, role, **arguments):
                pass
    assert str(told.value).startswith(f"models.{role}.engine.endpoints: http://127.0.0.1:")
    assert words in str(told.value)
    assert "wrong" not in str(told.value)


async def test_a_reward_model_of_other_classes_than_its_formats_is_told() -> None:
    async with serving() as servers:
        of_prm = replace(spec(servers, "prm"), scoring=Scoring((1.0,), {"runner": "pooling"}))
        told = r"gives 2 probabilities where the PRM's format has 1; start it with --runner pooling$"
        with pytest.raises(UserError, match=told):
            await visit(of_prm, VOCABULARY)


async def test_a_writer_whose_confidence_counts_must_tell_log_probabilities() -> None:
    async with serving() as servers:
        asking = replace(spec(servers), asks_confidence=True)
        for logs in (None, {"token_logprobs": None}, {"token_logprobs": [-0.5, None, -0.5, -0.5]}):
            servers[0].completion["logprobs"] = logs
            with pytest.raises(UserError, match="its completions carry no log-probabilities, of which format confid"):
                await visit(asking, VOCABULARY)
            assert await visit(spec(servers), VOCABULARY) == {servers[0].url: "serves m"}
        servers[0].completion["logprobs"] = {"token_logprobs": [-0.5]}
        assert await visit(asking, VOCABULARY) == {servers[0].url: "serves m"}


async def test_the_key_is_sent_and_a_server_that_does_not_tokenize_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_KEY", "right")
    async with serving() as servers:
        servers[0].key, servers[0].tokens = "right", None
        async with opened(servers, api_key_env="SOME_KEY") as engine:
            assert await engine.ask(asks(3)) == [written(ask) for ask in asks(3)]


async def test_servers_that_cannot_be_reached_are_told_unless_one_can() -> None:
    said: list[str] = []
    async with serving(2) as servers:
        await servers[0].stop()
        async with opened(servers, warn=said.append) as engine:
            assert await engine.ask(asks(9)) == [written(ask) for ask in asks(9)]
        assert f"{servers[0].url} is left out for now: no connection" in said[0]
        await servers[1].stop()
        with pytest.raises(UserError, match=r"models\.draft\.engine\.endpoints: http://127.*: no connection"):
            async with opened(servers):
                pass
        for server in servers:
            await server.start()


async def test_a_look_before_a_run_tells_how_endpoints_were_found() -> None:
    async with serving(2) as servers:
        await servers[1].stop()
        found = await visit(spec(servers), VOCABULARY)
        assert found[servers[0].url] == "serves m"
        assert found[servers[1].url].startswith("away now: no connection (")
        assert not servers[0].bodies
        servers[0].tokens = [1]
        with pytest.raises(UserError, match="its tokenizer is another one"):
            await visit(spec(servers), VOCABULARY)
        await servers[1].start()


async def test_a_server_that_comes_back_with_another_model_gets_no_work() -> None:
    async with serving(2) as servers, opened(servers) as engine:
        await servers[0].stop()
        assert await engine.ask(asks(9)) == [written(ask) for ask in asks(9)]
        servers[0].models = json.loads('[{"id": "other"}]')
        servers[0].tokens = [1]
        servers[0].bodies.clear()
        await servers[0].start()
        while "tokenizer" not in engine.pool.endpoints[0].fault:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await engine.ask(asks(9)) == [written(ask) for ask in asks(9)]
        assert not servers[0].bodies


# --- the name under which a model is served


async def test_servers_of_different_models_are_told_apart() -> None:
    async with serving(2) as servers:
        servers[1].models = [{"id": "other", "max_model_len": 4096}]
        with pytest.raises(UserError, match=r"it serves (m|other), which is not (m|other), the model of this run"):
            async with opened(servers):
                pass


async def test_a_server_that_comes_back_with_another_name_gets_no_work() -> None:
    async with serving(2) as servers, opened(servers) as engine:
        await servers[0].stop()
        assert await engine.ask(asks(9)) == [written(ask) for ask in asks(9)]
        servers[0].models = [{"id": "other", "max_model_len": 4096}]
        servers[0].bodies.clear()
        await servers[0].start()
        while "serves other" not in engine.pool.endpoints[0].fault:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await engine.ask(asks(9)) == [written(ask) for ask in asks(9)]
        assert all(body["max_tokens"] == 1 for body in servers[0].bodies)  # the handshake's


@pytest.mark.parametrize(
    ("models", "given", "expected"),
    [
        ([{"id": "m"}], {}, "m"),
        ([{"id": "m"}, {"id": "n"}], {}, None),
        ([{"id": "m"}, {"id": "n"}], {"model": "n"}, "n"),
        ([], {}, None),
        ("nonsense", {}, None),
    ],
)
async def test_the_name_is_asked_for_ahead_of_a_run(models: Any, given: dict[str, Any], expected: str | None) -> None:
    async with serving(2) as servers:
        await servers[0].stop()
        servers[1].models = models
        assert await served_as("draft", spec(servers, **given).arguments) == expected
        await servers[0].start()


async def test_an_engine_opens_on_the_name_that_was_planned_and_no_other() -> None:
    async with serving() as servers:
        planned = replace(spec(servers), checkpoints={"m": {SERVED: "yesterday's"}})
        with pytest.raises(UserError, match="it serves m, which is not yesterday's"):
            await open_engine(planned, VOCABULARY, print)
