"""A server may send without end what is no answer, or speak TLS badly: it is told in a line, and keeps nobody busy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import certified

from tasks.engines import endpoint, wire
from tasks.engines.endpoint import Endpoint
from tasks.engines.served import Served
from tasks.engines.server_faults import Away, Broken, Fault, Malformed

ROOM = 4096
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
FLOODS = {
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
    "hints to go on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "hints of work": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "hints unheard of": (b"", b"HTTP/1.1 199 X\r\n\r\n"),
    "hints with much in them": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: " + b"x" * 9000 + b"\r\n\r\n"),
    "headers": (OK, b"x-more: y\r\n"),
    "empty headers": (OK, b"a:\r\n"),
    "one header": (OK + b"x-more: ", b"z" * 999),
    "a header's next lines": (OK + b"x-more: a\r\n", b" more\r\n"),
    "a reason": (b"HTTP/1.1 200 ", b"OK " * 99),
    "a line of blanks": (b"", b"\r\n" * 99),
    "a chunk's extensions": (CHUNKED + b"1", b";name=value" * 99),
    "extensions of chunks": (CHUNKED, b"1;" + b"x" * 900 + b"\r\n \r\n"),
    "chunks of a byte": (CHUNKED, b"1\r\n \r\n"),
    "a chunk's size": (CHUNKED, b"0" * 99),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x-more: y\r\n"),
    "a trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nx-more: ", b"z" * 999),
    "a body": (OK + b"\r\n", b" " * 999),
}
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@contextlib.asynccontextmanager
async def asked(serve: Serve, context: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[Endpoint]:
    """A server on this machine, which serves each connection so."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    served = Served.model_validate({"endpoints": ["http://a:1"], "model": "m", "concurrency": 1} | settings)
    found = Endpoint(f"{'https' if context else 'http'}://127.0.0.1:{port}", served, None)
    try:
        yield found
    finally:
        await found.close()
        server.close()


@pytest.mark.parametrize("flood", FLOODS)
async def test_what_is_sent_without_end_ends(flood: str) -> None:
    head, part = FLOODS[flood]
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(part * 100)
                sent += 100 * len(part)
                await writer.drain()

    async with asked(serve) as found:
        with pytest.raises(Broken):  # of a header too large the library says so itself
            await found._once(found._greeter, "POST", "/v1/completions", b"{}", ROOM)
    assert sent < 32 << 20  # what a connection's buffers hold, and no more


async def test_hints_and_small_chunks_that_end_are_taken() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):  # a connection is used again, and each answer has an allowance of its own
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 1500 + CHUNKED)
            writer.write(b"".join(b"1\r\n%c\r\n" % byte for byte in b"[" + b" " * 4000 + b"]") + b"0\r\na: b\r\n\r\n")
        await writer.drain()

    async with asked(serve) as found:
        for _ in range(2):
            assert await found._once(found._greeter, "POST", "/v1/completions", b"{}", 4096) == []


def test_an_allowance_is_more_than_any_answer() -> None:
    allowed = wire.Allowance(100)
    allowed.take(wire.BESIDE + 100)
    with pytest.raises(Malformed, match="it sends without end what is no answer"):
        allowed.take(wire.FRAMED * 100)


# --- TLS


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK + b"content-length: 2\r\n\r\n{}")
    await writer.drain()
    writer.close()


TLS: dict[str, tuple[dict[str, Any], bool, str]] = {
    "unknown": ({}, False, "self-signed certificate"),
    "expired": ({"days": -1}, True, "certificate has expired"),
    "of another host": ({"name": "elsewhere.example"}, True, "IP address mismatch"),
}


@pytest.mark.parametrize("fault", TLS)
async def test_a_certificate_that_is_not_trusted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    made, known, words = TLS[fault]
    context = certified(tmp_path, **made)
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    async with asked(answers, context) as found:
        with pytest.raises(Away, match=f"no connection .its certificate is not trusted: .*{words}") as caught:
            await found.get("/v1/models")
    assert str(caught.value).isprintable()


async def test_a_certificate_of_an_authority_of_ones_own_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    async with asked(answers, context) as found:
        assert await found.get("/v1/models") == {}


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A record of TLS that is never whole."""
    writer.write(b"\x16\x03\x03\x40\x00")
    while not writer.is_closing():
        writer.write(b"\x02")
        await asyncio.sleep(0.005)


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("serve", [silent, drips, plain])
async def test_a_handshake_that_never_ends_or_is_none(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setattr(endpoint, "CONNECT", 0.05)
    async with asked(serve) as found:
        found = Endpoint(found.url.replace("http:", "https:"), Served(endpoints=["http://a:1"], concurrency=1), None)
        with pytest.raises(Fault) as caught:
            await found.get("/v1/models")
        assert str(caught.value).isprintable()
        await found.close()
