"""A small HTTP server that answers like vLLM's, and breaks as a test wants it to."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.models.tokenizer import PROBE, ModelVocabulary

Answer = web.StreamResponse | None
By = Callable[[web.Request], Awaitable[web.StreamResponse]]
Trouble = Callable[[list[int]], web.StreamResponse | By | str | None]
"""Given a prompt: an answer instead of the usual one, or who answers, `drop` (the connection), `hang`, `abort` (as vLLM
that is told to stop), or None for the usual."""


def written(ask: StepRequest) -> Written:
    """What every server writes: the prompt's last ids tell how it ends."""
    ids = array("i", [*ask.prompt[-3:], 7])
    if len(ids) > ask.max_tokens:
        return Written(ids[: ask.max_tokens], "length", len(ask.prompt) // 2)
    return Written(ids, "eos" if ask.prompt[-1] % 3 == 0 else "step", len(ask.prompt) // 2)


def scored(look: ScoreRequest) -> Scored:
    return Scored(look.prompt[-1] / 1000)


class FakeServer:
    """Serves the model `m`. Use as a context; `stop` and `start` it within."""

    def __init__(self, vocabulary: ModelVocabulary) -> None:
        self.probe = list(vocabulary.encode_steps([PROBE])[0])
        self.key: str | None = None
        self.models: Any = [{"id": "m", "max_model_len": 4096}]
        self.tokens: list[int] | None = self.probe
        """What /tokenize makes of the probe; None where there is no such path."""
        self.greeting: dict[str, By] = {}
        """Path to who answers there before any work is asked."""
        self.completion: dict[str, Any] = {}
        """Fields of a choice that stand in for the usual ones."""
        self.paths = {"/v1/completions", "/classify"}
        self.trouble: Trouble = lambda prompt: None
        self.bodies: list[dict[str, Any]] = []
        """Of the requests that were work, in the order in which they came."""
        self.asked: Counter[tuple[int, ...]] = Counter()
        self.in_flight = self.most = 0
        self.arrived = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/{path:.*}", self._post)
        self.runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        await self.runner.cleanup()

    async def __aenter__(self) -> FakeServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _stranger(self, request: web.Request) -> web.Response | None:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        return None

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if by := self.greeting.get(request.path):
            return await by(request)
        return self._stranger(request) or web.json_response({"data": self.models})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        if stranger := self._stranger(request):
            return stranger
        if by := self.greeting.get(request.path):
            return await by(request)
        body = await request.json()
        if request.path == "/tokenize" and self.tokens is not None:
            return web.json_response({"tokens": self.tokens})
        if request.path not in self.paths:
            return web.json_response({"detail": "Not Found"}, status=404)
        prompt = body.get("prompt") or body.get("input")
        if prompt != self.probe:
            self.bodies.append(body)
            self.asked[tuple(prompt)] += 1
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            self.arrived.set()
            try:
                await asyncio.sleep(0)
                trouble = self.trouble(prompt)
                if trouble == "hang":
                    await asyncio.Event().wait()
                if trouble == "drop":
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
                if trouble == "abort":
                    return web.json_response({"choices": [{"token_ids": [], "finish_reason": "abort"}]})
                if isinstance(trouble, web.StreamResponse):
                    return trouble
                if callable(trouble):
                    return await trouble(request)
            finally:
                self.in_flight -= 1
        if request.path == "/classify":
            right = scored(ScoreRequest(prompt)).reward
            return web.json_response({"data": [{"index": 0, "probs": [1 - right, right], "num_classes": 2}]})
        return web.json_response(self._completion(StepRequest(prompt, body["max_tokens"], 0)))

    def _completion(self, ask: StepRequest) -> dict[str, Any]:
        answer = written(ask)
        choice = {
            "text": "",
            "token_ids": list(answer.token_ids),
            "finish_reason": "length" if answer.finish == "length" else "stop",
            "stop_reason": "\n\n" if answer.finish == "step" else None,
        }
        usage = {"prompt_tokens_details": {"cached_tokens": answer.cached}}
        return {"choices": [choice | self.completion], "usage": usage}


def refusal(status: int, message: str = "", **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
