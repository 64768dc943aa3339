"""An HTTP proxy that inflicts faults on what lies behind it, by rate (seeded) or by plan.

    with FaultProxy(s3_server, seed=1, rates={Fault.SLOW_DOWN: 0.2}) as proxy:
        ... AWS_ENDPOINT_URL_S3=proxy.url ...
        proxy.plan(Fault.LOST, when=lambda method, path: method == "PUT")
        proxy.away_for(2.0)

It runs in a thread of the test process and serves other processes as well. A request is read whole, forwarded on a
connection of its own, and the answer's body passed on byte for byte; connections of clients stay open.
"""

from __future__ import annotations

import asyncio
import enum
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

When = Callable[[str, str], bool]
"""Given a request's method and path (with its query), says whether it is meant."""


class Fault(enum.Enum):
    """What can happen to a request. All but LOST, CUT and DELAY happen before it is forwarded."""

    ERROR = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    RESET = "the connection is reset"
    HANG = "no answer, until released; then the connection is reset"
    LOST = "forwarded, then the connection is reset: the change happened, the answer is lost"
    CUT = "forwarded, then half the answer and the end of the connection"
    DELAY = "forwarded after a while"


class Outage(enum.Enum):
    """How a server is away."""

    REFUSE = "connections are refused"
    DROP = "connections are accepted and reset"


class _Request(NamedTuple):
    method: str
    path: str
    head: bytes


class _Plan(NamedTuple):
    fault: Fault | str
    when: When


class FaultProxy:
    """A fault proxy in front of `upstream`, an http:// address without a path. Methods may be called from any thread.

    `rates`: share of the requests, in [0, 1], that meet each fault; may be replaced at any time.
    `delay`: seconds of a DELAY. `on_request(n, method, path)` is called with every request, n from 1, before anything
    is done with it; `on_success(method, path)` once the server behind has done what one asks.
    """

    def __init__(
        self, upstream: str, *, seed: int = 0, rates: dict[Fault, float] | None = None, delay: float = 0.05
    ) -> None:
        address = urlsplit(upstream)
        assert address.scheme == "http"
        assert address.hostname
        self.upstream = (address.hostname, address.port or 80)
        self.rates: dict[Fault, float] = rates or {}
        self.delay = delay
        self.on_request: Callable[[int, str, str], None] = lambda n, method, path: None
        self.on_success: Callable[[str, str], None] = lambda method, path: None
        self.requests = 0
        """Requests that came in."""
        self.counts: Counter[Fault | Outage | str] = Counter()
        """Faults inflicted; connections dropped in an outage (refused ones are not seen)."""
        self.url = ""
        self._random = random.Random(seed)
        self._plans: list[_Plan] = []
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._outage: Outage | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._failures: list[BaseException] = []

    # --- what a test does

    def __enter__(self) -> Self:
        # holds the port while nobody listens
        self._place = _bound(0)
        self.url = f"http://127.0.0.1:{self._place.getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._leave(None))
        self._run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()
        if self._failures and error is None:
            raise self._failures[0]

    def plan(self, fault: Fault | str, when: When = lambda method, path: True, times: int = 1) -> None:
        """Inflict a fault, or an answer such as "404 NoSuchUpload", on the next requests that are meant.

        Plans go before rates.
        """
        self._plans += [_Plan(fault, when)] * times

    def release(self) -> None:
        """End the requests that hang."""

        def end() -> None:
            self._released.set()
            self._released = asyncio.Event()

        self._loop.call_soon_threadsafe(end)

    def away(self, how: Outage = Outage.REFUSE) -> None:
        """Begin an outage: what is under way is reset."""
        self._run(self._leave(how))

    def back(self) -> None:
        """End an outage."""
        self._run(self._listen())

    def away_for(self, seconds: float, how: Outage = Outage.REFUSE) -> None:
        """Begin an outage that ends by itself."""
        self.away(how)
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, lambda: self._loop.create_task(self._listen()))

    def away_soon(self, seconds: float | None, how: Outage = Outage.REFUSE) -> None:
        """Begin an outage from within `on_request`, for so many seconds or until `back`."""

        async def leave() -> None:
            await self._leave(how)
            if seconds is not None:
                self._loop.call_later(seconds, lambda: self._loop.create_task(self._listen()))

        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(leave()))

    # --- the server

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._outage = None
        if self._server is None or not self._server.is_serving():
            place = _bound(self._place.getsockname()[1])
            self._server = await asyncio.start_server(self._serve, sock=place, limit=1 << 20)

    async def _leave(self, how: Outage | None) -> None:
        self._outage = how
        if how is not Outage.DROP and self._server:
            self._server.close()
        for writer in list(self._connections):
            _reset(writer)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._outage:
            self.counts[self._outage] += 1
            _reset(writer)
            return
        self._connections.add(writer)
        try:
            while request := await _read_request(reader):
                if not await self._answer(request, reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, perhaps in the middle of a request
        except Exception as error:
            self._failures.append(error)
        finally:
            self._connections.discard(writer)
            _reset(writer) if self._outage else writer.close()

    async def _answer(self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; False where the connection is of no use after it."""
        self.requests += 1
        self.on_request(self.requests, request.method, request.path)
        fault = self._choose(request)
        if fault:
            self.counts[fault] += 1
        if fault is Fault.HANG:
            await self._released.wait()
        if fault in (Fault.HANG, Fault.RESET):
            return _reset(writer)
        body = await _read_body(request.head, reader, writer)
        if isinstance(fault, str) or fault in (Fault.ERROR, Fault.SLOW_DOWN):
            answer = _error(request.method, fault if isinstance(fault, str) else fault.value)
        else:
            await asyncio.sleep(self.delay if fault is Fault.DELAY else 0)
            answer = await self._forward(request, body)
            if answer.split(b" ", 2)[1:2] == [b"200"]:
                self.on_success(request.method, request.path)
        if fault is Fault.LOST:
            return _reset(writer)
        if fault is Fault.CUT:
            head, end, content = answer.partition(b"\r\n\r\n")
            half = head + end + content[: len(content) // 2] if content else head[: head.index(b"\r\n") // 2]
            writer.write(half)
            await writer.drain()
            return False
        writer.write(answer)
        await writer.drain()
        return True

    def _choose(self, request: _Request) -> Fault | str | None:
        for plan in self._plans:
            if plan.when(request.method, request.path):
                self._plans.remove(plan)
                return plan.fault
        drawn = self._random.random()
        for fault, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return fault
        return None

    async def _forward(self, request: _Request, body: bytes) -> bytes:
        """The whole answer of the server behind, fit for a connection that stays open."""
        reader, writer = await asyncio.open_connection(*self.upstream)
        try:
            writer.write(_with(_without(request.head, "Expect", "Connection"), "Connection: close") + body)
            answer = await reader.read()
        finally:
            writer.close()
        head, end, content = answer.partition(b"\r\n\r\n")
        head = _without(head.replace(b"HTTP/1.0", b"HTTP/1.1", 1) + end, "Connection")
        if not _header(head, "Content-Length") and not _header(head, "Transfer-Encoding"):
            head = _with(head, f"Content-Length: {len(content)}")
        return head + content


# --- HTTP


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    """The head of the next request, with the empty line; None at the connection's end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return _Request(method, path, head)


async def _read_body(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The body as it stands on the line: chunks keep their sizes and trailers."""
    if _header(head, "Expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    if _header(head, "Transfer-Encoding").lower() != "chunked":
        return await reader.readexactly(int(_header(head, "Content-Length") or 0))
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        body += line
        if size := int(line.split(b";")[0], 16):
            body += await reader.readexactly(size + 2)
            continue
        while line != b"\r\n":
            line = await reader.readuntil(b"\r\n")
            body += line
        return body


def _header(head: bytes, name: str) -> str:
    found = re.search(rf"(?im)^{name}:[ \t]*(.*?)[ \t]*\r$", head.decode("latin-1"))
    return found[1] if found else ""


def _without(head: bytes, *names: str) -> bytes:
    return re.sub(rf"(?im)^({'|'.join(names)}):.*\r\n", "", head.decode("latin-1")).encode("latin-1")


def _with(head: bytes, line: str) -> bytes:
    return head[:-2] + line.encode("latin-1") + b"\r\n\r\n"


def _error(method: str, error: str) -> bytes:
    """An answer as S3 gives it; `error` is status and code."""
    status, code = error.split(" ")
    body = "" if method == "HEAD" else f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    length = len(body)
    return (
        f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}".encode()
    )


def _bound(port: int) -> socket.socket:
    """A socket of a port of this machine; several may be bound to it."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", port))
    return place


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Break a connection as a crash does, without a goodbye."""
    place = writer.get_extra_info("socket")
    if place is not None and place.fileno() >= 0:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
