"""One server of an `openai` engine: connections to it, and what its answers and faults mean as HTTP.

What an answer says is answers.py's. Here it has a size that it must not pass, and one deadline for the whole of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import http.cookiejar
import ipaddress
import json
import math
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay, wait_random_exponential

from tasks.engines.answers import LISTING, fault_text, parsed
from tasks.engines.served import Served
from tasks.engines.server_faults import Away, Broken, Busy, Fault, Malformed, Refused, Unfit
from tasks.engines.wire import Allowance, BoundedTransport, allowance
from tasks.errors import UserError, in_brief

CONNECT = 10.0
"""Seconds to get a connection."""
IDLE = 3.0
"""Seconds for which an idle connection is kept: less than servers keep it (vLLM: 5), so that none closes under us."""
FIRST_WAIT = 0.5
"""Seconds at most before something is tried again the first time; the most doubles with every try."""
LONGEST_WAIT = 15.0
"""Seconds at most between two tries."""
FAULT = 1 << 14
"""Bytes that are read of an answer which is a fault."""
READ_AT_ONCE = 8
"""Answers of one server that are read at a time, which bounds the memory that they take."""


class Endpoint:
    """A server. `up` is whether work is sent to it; the engine decides that."""

    def __init__(self, url: str, served: Served, key: str | None) -> None:
        """Raises UserError where the environment's proxy for it cannot be used."""
        self.url, self.patience, self.timeout = url, served.patience, served.timeout
        self.model = served.model
        self.up = False
        self.fault = "not asked yet"
        """Why it is not up."""
        self.faults = 0
        """Times that it was left out since its last answer."""
        self.lives = 0
        """Times that it was taken in."""
        self._headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._tls = ssl.create_default_context() if url.startswith("https") else False
        self._proxy = _proxy(url)
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self._trial = asyncio.Lock()
        # a client a connection: with 128 connections in one client each request costs several times as much
        self._clients = [self._client() for _ in range(served.concurrency + 1)]
        self._greeter = self._clients[0]
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._clients[1:]:
            self._free.put_nowait(client)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=CONNECT),
            transport=BoundedTransport(
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE),
                verify=self._tls,
                proxy=self._proxy,
            ),
            follow_redirects=False,  # prompts and the key are for this address alone
            cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            with contextlib.suppress(Exception):
                await client.aclose()

    @property
    def on_trial(self) -> bool:
        """True while a single request finds out whether the server answers again."""
        return self._trial.locked()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[httpx.AsyncClient]:
        """One of its connections, once one is free. A server that was left out several times gets one request at a time
        until it has answered one."""
        async with AsyncExitStack() as stack:
            if self.faults > 1:
                await stack.enter_async_context(self._trial)
                if not self.faults:
                    await stack.aclose()
            client = await self._free.get()
            try:
                yield client
            finally:
                self._free.put_nowait(client)

    async def post(self, path: str, body: dict[str, Any], room: int, client: httpx.AsyncClient | None = None) -> Any:
        """The JSON that it answers, of at most `room` bytes; while it is busy it is asked again, as late as it says.
        Raises Fault."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Busy), wait=_later, stop=stop_before_delay(self.patience), reraise=True
        )
        content = json.dumps(body, separators=(",", ":")).encode()
        return await retrying(self._once, client or self._greeter, "POST", path, content, room)

    async def get(self, path: str) -> Any:
        """The JSON that a path answers. Raises Fault."""
        return await self._once(self._greeter, "GET", path, None, LISTING)

    async def _once(self, client: httpx.AsyncClient, method: str, path: str, content: bytes | None, room: int) -> Any:
        allowance.set(Allowance(room))
        try:
            async with asyncio.timeout(self.timeout):
                async with client.stream(method, path, content=content) as response, self._reading:
                    body = await _body(response, room)
        except TimeoutError as error:
            raise Broken(f"no whole answer within {self.timeout:g} s") from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            through = " through the proxy that the environment names" if self._proxy else ""
            raise Away(f"no connection{through} ({_no_trust(error) or _words(error)})") from error
        except (httpx.RequestError, httpx.StreamError, ValueError) as error:  # ValueError: headers that are none
            raise Broken(f"the connection broke off ({_words(error)})") from error
        if response.status_code == 200:
            return parsed(body)
        raise _fault(response, fault_text(body))


async def _body(response: httpx.Response, room: int) -> bytes:
    """An answer's content, of one that is a fault its beginning. Raises Malformed where it does not fit into `room`
    bytes."""
    told = response.status_code != 200
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Malformed("its answer is compressed, for which it was not asked")
    length = response.headers.get("content-length", "")
    if not told and length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > room):
        raise Malformed(f"its answer is longer than {room:,} bytes, more than any to this request can be")
    body = bytearray()  # not a list: each of its parts may be one byte
    async for part in response.aiter_raw():
        body += part
        if told and len(body) >= FAULT:
            break
        if not told and len(body) > room:
            raise Malformed(f"its answer is longer than {room:,} bytes, more than any to this request can be")
    return bytes(body)


def _fault(response: httpx.Response, said: str) -> Fault:
    """What an answer other than 200 means."""
    status = response.status_code
    told = f"it answers {status}" + (f" ({said})" if said else "")
    if status in (400, 413, 422):
        return Refused(said or told)
    if status == 429 or (status == 503 and "retry-after" in response.headers):
        return Busy(told, _seconds(response.headers))
    if status == 503:
        return Away(told)
    if status == 408 or status >= 500:
        # also a gateway's 502 and 504, by which it means that the server behind it broke off
        return Broken(told)
    return Unfit(told)


def _seconds(headers: httpx.Headers) -> float | None:
    """A Retry-After header's seconds from now; it holds a number of them or a date, by the clock that the answer's own
    date is of. None where it is neither."""
    if (retry_after := headers.get("retry-after")) is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(retry_after)
        return None if math.isnan(seconds) else max(0.0, seconds)
    with contextlib.suppress(Exception):  # the parser fails in many ways on what is no date
        now = email.utils.parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - now)
    return None


def _later(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    backoff = wait_random_exponential(FIRST_WAIT, LONGEST_WAIT)(state)
    return max(error.after, backoff) if isinstance(error, Busy) and error.after is not None else backoff


def _no_trust(error: BaseException) -> str | None:
    """What is wrong with a server's certificate, and what to do; None where that is not the fault."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted: {cause.verify_message}; where it is a certificate of your own, name "
                "its authority's file in SSL_CERT_FILE"
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _words(error: BaseException) -> str:
    """The system's own words for a fault, which the layers above it may not repeat."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return in_brief(error)


def _proxy(url: str) -> httpx.Proxy | None:
    """The proxy that the environment names for a server; none for one on this machine. Raises UserError where it is of
    no use."""
    address = urlsplit(url)
    host = address.hostname or ""
    if _on_this_machine(host) or urllib.request.proxy_bypass(address.netloc):
        return None
    named = urllib.request.getproxies()
    proxy = named.get(address.scheme) or named.get("all")
    if not proxy:
        return None
    name = f"{address.scheme.upper()}_PROXY" if address.scheme in named else "ALL_PROXY"
    mend = f"name one that reads http://host:port, or put {host} into NO_PROXY"
    try:
        found = httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, httpx.InvalidURL):
        raise UserError(f"{name}: the proxy for {url} cannot be used; {mend}") from None
    if found.url.scheme not in ("http", "https", "socks5", "socks5h"):
        raise UserError(f"{name}: a proxy of kind {found.url.scheme} is none for {url}; {mend}")
    return found


def _on_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
