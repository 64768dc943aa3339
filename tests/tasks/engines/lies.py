"""What a server may answer that no answer can be: to a prompt of three ids of which eight tokens are asked for."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

from aiohttp import web

from .fake_server import By

ROW = {"text": "", "token_ids": [20, 3, 300, 7], "finish_reason": "stop", "stop_reason": "\n\n"}
"""The choice of a good answer."""
FULL = 1 << 21
"""Bytes that are written where there is no end."""


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [ROW | fields], "usage": {}}


def usage(**details: Any) -> dict[str, Any]:
    return {"choices": [ROW], "usage": {"prompt_tokens_details": details}}


def without(field: str) -> dict[str, Any]:
    return {"choices": [{name: value for name, value in ROW.items() if name != field}]}


COMPLETIONS: dict[str, Any] = {
    "null": None,
    "a number": 7,
    "a text": "no",
    "a list": [choice()],
    "an empty object": {},
    "choices null": {"choices": None},
    "no choice": {"choices": []},
    "two choices": {"choices": [ROW, ROW]},
    "choices an object": {"choices": {"0": ROW}},
    "a choice that is null": {"choices": [None]},
    "a choice that is a list": {"choices": [[ROW]]},
    "no token_ids": without("token_ids"),
    "no finish_reason": without("finish_reason"),
    "no stop_reason": without("stop_reason"),
    "token_ids null": choice(token_ids=None),
    "token_ids empty": choice(token_ids=[]),
    "token_ids text": choice(token_ids="20 3"),
    "token_ids an object": choice(token_ids={"0": 20}),
    "an id below 0": choice(token_ids=[-1, 5]),
    "an id just beyond the vocabulary": choice(token_ids=[20, 650]),
    "an id beyond 32 bits": choice(token_ids=[1 << 31]),
    "an id beyond 64 bits": choice(token_ids=[1 << 70]),
    "an id of a thousand digits": choice(token_ids=[10**1000]),
    "an id that is a float": choice(token_ids=[20.0]),
    "an id that is half": choice(token_ids=[0.5]),
    "an id that is true": choice(token_ids=[True]),
    "an id that is text": choice(token_ids=["20"]),
    "an id that is null": choice(token_ids=[20, None]),
    "an id that is a list": choice(token_ids=[[20]]),
    "one token more than asked": choice(token_ids=[7] * 9),
    "many more tokens than asked": choice(token_ids=[7] * 9000),
    "cut for length too early": choice(finish_reason="length", stop_reason=None),
    "finish_reason null": choice(finish_reason=None),
    "finish_reason a number": choice(finish_reason=1),
    "finish_reason unheard of": choice(finish_reason="\x1b[2J tool_calls \ud800"),
    "stop_reason a float": choice(stop_reason=1e308),
    "stop_reason true": choice(stop_reason=True),
    "stop_reason a list": choice(stop_reason=["\n\n"]),
    "stop_reason another text": choice(stop_reason="the"),
    "gave it up": choice(finish_reason="abort"),
    "cached a text": usage(cached_tokens="many"),
    "cached below 0": usage(cached_tokens=-(10**18)),
    "cached beyond the prompt": usage(cached_tokens=4),
    "cached 1e308": usage(cached_tokens=1e308),
    "cached a float": usage(cached_tokens=1.5),
    "cached true": usage(cached_tokens=True),
    "cached a list": usage(cached_tokens=[1]),
    "usage a list": {"choices": [ROW], "usage": [1]},
    "usage a text": {"choices": [ROW], "usage": "much"},
    "details a number": {"choices": [ROW], "usage": {"prompt_tokens_details": 3}},
}
"""Answers as JSON can write them."""

TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "half": json.dumps(choice()).encode()[:-9],
    "HTML": b"<html><body>Welcome to nginx!</body></html>",
    "two answers": json.dumps(choice()).encode() * 2,
    "bytes that are no text": b"\xff\xfe\x00\xd8" * 99,
    "zeros": bytes(999),
    "deep lists": b'{"choices":' + b"[" * 30_000,
    "deep lists that end": b"[" * 15_000 + b"]" * 15_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep in a field that nobody reads": b'{"choices":[],"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a number of too many digits": b'{"choices":[{"token_ids":[' + b"9" * 20_000 + b"]}]}",
    "an infinite count": json.dumps(usage(cached_tokens=0)).replace("0}", "Infinity}").encode(),
    "a count that is NaN": json.dumps(usage(cached_tokens=0)).replace("0}", "NaN}").encode(),
    "a count of 1e999": json.dumps(usage(cached_tokens=0)).replace("0}", "1e999}").encode(),
    "lists without number": b'{"choices":[' + b"[]," * 18_000 + b"0]}",
    "a text as long as may be": b'{"choices":"' + b"x" * 60_000 + b'"}',
}
"""Answers as text."""


def raw(head: bytes, body: bytes = b"") -> By:
    """These bytes on the connection, which then ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(head.replace(b"\n", b"\r\n") + body)
        request.transport.close()
        return web.Response()

    return answer


def endless(head: bytes, part: bytes) -> By:
    """So much that nobody may keep it, as fast as it is taken."""

    async def answer(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        transport.write(head.replace(b"\n", b"\r\n"))
        for _ in range(FULL // len(part)):
            if transport.is_closing():
                break
            transport.write(part)
            while transport.get_write_buffer_size() > 1 << 18 and not transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0)
        transport.abort()
        return web.Response()

    return answer


def dripping(head: bytes, part: bytes = b" ") -> By:
    """A byte now and then, without end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        transport.write(head.replace(b"\n", b"\r\n"))
        while not transport.is_closing():
            transport.write(part)
            await asyncio.sleep(0.01)
        return web.Response()

    return answer


OK = b"HTTP/1.1 200 OK\n"
GOOD = json.dumps(choice()).encode()
HTTP: dict[str, By] = {
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\n"),
    "nothing at all": raw(b""),
    "half a status line": raw(b"HTTP/1.1 20"),
    "a status that is none": raw(b"HTTP/1.1 abc OK\n\n"),
    "status 999": raw(b"HTTP/1.1 999 No\ncontent-length: 0\n\n"),
    "status 204": raw(b"HTTP/1.1 204 No Content\n\n"),
    "status 101": raw(b"HTTP/1.1 101 Switching Protocols\nupgrade: h2c\nconnection: upgrade\n\n"),
    "a hint, and no answer": raw(b"HTTP/1.1 103 Early Hints\nlink: </x>\n\n"),
    "headers that are none": raw(OK + b"content-length 5\n\n", b"12345"),
    "two lengths": raw(OK + b"content-length: 5\ncontent-length: 6\n\n", b"12345"),
    "a length below 0": raw(OK + b"content-length: -5\n\n", b"12345"),
    "a length that is text": raw(OK + b"content-length: long\n\n", b"12345"),
    "less than its length": raw(OK + b"content-length: 5000\n\n", GOOD),
    "a length beyond all": raw(OK + b"content-length: 99999999999999999999999\n\n", GOOD),
    "chunks that are none": raw(OK + b"transfer-encoding: chunked\n\n", b"zzz\r\n"),
    "a chunk without end": raw(OK + b"transfer-encoding: chunked\n\n", b"ffffffff\r\n" + GOOD),
    "no last chunk": raw(OK + b"transfer-encoding: chunked\n\n", f"{len(GOOD):x}\r\n".encode() + GOOD + b"\r\n"),
    "gzip": raw(OK + b"content-encoding: gzip\n\n", gzip.compress(GOOD)),
    "gzip that grows": raw(OK + b"content-encoding: gzip\n\n", gzip.compress(bytes(1 << 24))),
    "deflate that grows": raw(OK + b"content-encoding: deflate\n\n", zlib.compress(bytes(1 << 24))),
    "an encoding unheard of": raw(OK + b"content-encoding: x-none\n\n", GOOD),
    "a body without end": endless(OK + b"\n", b"x" * 9999),
    "white space without end": endless(OK + b"\n", b" " * 9999),
    "lists without end": endless(OK + b"\n", b"[]," * 3333),
    "chunks without end": endless(OK + b"transfer-encoding: chunked\n\n", b"1000\r\n" + b"y" * 4096 + b"\r\n"),
    "chunks of a byte without end": endless(OK + b"transfer-encoding: chunked\n\n", b"1\r\n[\r\n" * 500),
    "headers without end": endless(OK, b"x-more: " + b"z" * 990 + b"\r\n"),
    "one header without end": endless(OK + b"x-more: ", b"z" * 999),
    "hints without end": endless(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
    "an error without end": endless(b"HTTP/1.1 500 No\n\n", b"x" * 9999),
    "a refusal without end": endless(b"HTTP/1.1 400 No\n\n", b"x" * 9999),
    "drips of a body": dripping(OK + b"content-length: 5000\n\n"),
    "drips of chunks": dripping(OK + b"transfer-encoding: chunked\n\n", b"1\r\n \r\n"),
    "drips of headers": dripping(OK, b"a: b\r\n"),
    "drips of hints": dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "silence": dripping(b"", b""),
}


def status(code: int, body: bytes = b"", **headers: str) -> By:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, body=body, headers=headers)

    return answer


def error(message: Any) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


STATUSES: dict[str, By] = {
    "a redirect": status(302, location="http://127.0.0.1:9/v1/completions"),
    "a redirect that keeps the body": status(307, location="http://127.0.0.1:9/v1/completions"),
    "not found": status(404, error("The model `m` does not exist.")),
    "no key": status(401),
    "not allowed": status(403, b"<html>"),
    "refuses everything": status(400, error("too long")),
    "refuses with control characters": status(400, error("\x1b]0;you\x07\x1b[2J\r\n\ud800" + "x" * 9000)),
    "refuses with a deep answer": status(422, b"[" * 15_000),
    "refuses with a list": status(400, error([{"msg": "no"}] * 99)),
    "breaks": status(500, error("\x00\x9b31m")),
    "behind a gateway": status(502, b"<html><h1>502 Bad Gateway</h1></html>"),
    "busy without end": status(429),
    "busy for ever": status(429, **{"retry-after": "inf"}),
    "busy for ages": status(503, **{"retry-after": "99999999"}),
    "busy until the year 9999": status(429, **{"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "busy till a date that is none": status(429, **{"retry-after": "Mon, 99 Foo 99999999999 99:99:99 +9999999999"}),
    "busy for nan": status(429, **{"retry-after": "nan"}),
    "busy for less than nothing": status(503, **{"retry-after": "-1e308"}),
    "down": status(503),
}


def text(body: bytes) -> By:
    return status(200, body)


LIES: dict[str, By] = (
    {name: text(json.dumps(answer).encode()) for name, answer in COMPLETIONS.items()}
    | {name: text(body) for name, body in TEXTS.items()}
    | HTTP
    | STATUSES
)
"""To /v1/completions."""

CLASSES: dict[str, By] = {
    name: text(json.dumps(answer).encode())
    for name, answer in {
        "no data": {},
        "nothing in it": {"data": []},
        "two": {"data": [{"probs": [0.5, 0.5]}] * 2},
        "no probabilities": {"data": [{"probs": []}]},
        "too few": {"data": [{"probs": [1.0]}]},
        "too many": {"data": [{"probs": [0.2, 0.3, 0.5]}]},
        "below 0": {"data": [{"probs": [-0.5, 1.5]}]},
        "no sum of 1": {"data": [{"probs": [1.0, 1.0]}]},
        "text": {"data": [{"probs": ["0.5", "0.5"]}]},
        "true": {"data": [{"probs": [False, True]}]},
        "null": {"data": [{"probs": None}]},
        "an integer beyond floats": {"data": [{"probs": [0, 10**400]}]},
        "a list of lists": {"data": [{"probs": [[0.5, 0.5]]}]},
    }.items()
}
"""To /classify, of two classes."""
