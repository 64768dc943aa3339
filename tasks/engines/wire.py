"""Connections that a server cannot flood: what is read for one answer, in whatever form, has a bound.

HTTP lets a server send hints before an answer, extensions with every chunk and trailers after it, without end. The
library reads on and keeps nothing, so that neither memory nor a limit of the answer's size would end it; meanwhile the
run could do little else.
"""

# ruff: noqa: ASYNC109 - the library gives its timeouts as arguments

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from tasks.engines.server_faults import Malformed

BESIDE = 1 << 17
"""Bytes that an answer may have beside its content: status, headers, hints."""
FRAMED = 8
"""Times as many bytes as its content that it may have on the wire: chunks may be as small as a token's text."""


class Allowance:
    """How much more may be read for the answer that is awaited."""

    def __init__(self, room: int) -> None:
        """`room`: bytes that its content may have."""
        self.left = BESIDE + FRAMED * room

    def take(self, size: int) -> None:
        """Raises Malformed where there is no room for so many bytes more."""
        self.left -= size
        if self.left < 0:
            raise Malformed("it sends without end what is no answer")


allowance: ContextVar[Allowance] = ContextVar("allowance")
"""Of the answer that this task awaits."""


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self.stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = await self.stream.read(max_bytes, timeout)
        allowance.get().take(len(content))
        return content

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self.stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self.stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class _Network(httpcore.AsyncNetworkBackend):
    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self.network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self.network.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self.network.sleep(seconds)


class BoundedTransport(httpx.AsyncHTTPTransport):
    """httpx's own, on connections that heed `allowance`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trust_env=False, **options)
        self._pool._network_backend = _Network(self._pool._network_backend)
