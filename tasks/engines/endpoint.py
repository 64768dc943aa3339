"""One server of an `openai` engine: connections to it, and what its answers and faults mean."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from tasks.engines.served import Served

CONNECT = 10.0
"""Seconds to get a connection."""
IDLE = 3.0
"""Seconds for which an idle connection is kept: less than servers keep it (vLLM: 5), so that none closes under us."""
FIRST_WAIT = 0.5
"""Seconds at most before something is tried again the first time; the most doubles with every try."""
LONGEST_WAIT = 15.0
"""Seconds at most between two tries."""


class Fault(Exception):
    """Why a server gave no answer."""


class Refused(Fault):
    """It will not have this request, whoever sends it."""


class Unfit(Fault):
    """It is not what the configuration takes it for: another key, another model, another kind of server."""


class Away(Fault):
    """It cannot be reached, so the request has done nothing."""


class Broken(Fault):
    """It had the request and did not answer it."""


class Busy(Away):
    """It wants to be asked later."""

    def __init__(self, reason: str, after: float | None) -> None:
        super().__init__(reason)
        self.after = after
        """Seconds, where it said so."""


class Endpoint:
    """A server. `up` is whether work is sent to it; the engine decides that."""

    def __init__(self, url: str, served: Served, key: str | None) -> None:
        self.url, self.patience = url, served.patience
        self.model = served.model
        self.up = False
        self.fault = "not asked yet"
        """Why it is not up."""
        self.faults = 0
        """Times that it was left out since its last answer."""
        self.lives = 0
        """Times that it was taken in."""
        self._timeout = httpx.Timeout(served.timeout, connect=min(CONNECT, served.timeout))
        self._headers = {"content-type": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._tls = ssl.create_default_context() if url.startswith("https") else False
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
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE),
            verify=self._tls,
        )

    async def close(self) -> None:
        for client in self._clients:
            with contextlib.suppress(Exception):
                await client.aclose()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[httpx.AsyncClient]:
        """One of its connections, once one is free."""
        client = await self._free.get()
        try:
            yield client
        finally:
            self._free.put_nowait(client)

    async def post(self, path: str, body: dict[str, Any], client: httpx.AsyncClient | None = None) -> Any:
        """The JSON that it answers; while it is busy it is asked again, as late as it says. Raises Fault."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Busy), wait=_later, stop=stop_after_delay(self.patience), reraise=True
        )
        content = json.dumps(body, separators=(",", ":")).encode()
        return await retrying(self._once, client or self._greeter, "POST", path, content)

    async def get(self, path: str) -> Any:
        return await self._once(self._greeter, "GET", path, None)

    async def _once(self, client: httpx.AsyncClient, method: str, path: str, content: bytes | None) -> Any:
        try:
            response = await client.request(method, path, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Away(f"no connection ({_words(error)})") from error
        except httpx.TimeoutException as error:
            raise Broken(f"no answer within {self._timeout.read:g} s") from error
        except httpx.RequestError as error:
            raise Broken(f"the connection broke off ({_words(error)})") from error
        if response.status_code == 200:
            try:
                return response.json()
            except ValueError as error:
                raise Broken("it answered something that is not JSON") from error
        raise _fault(response)


def _fault(response: httpx.Response) -> Fault:
    """What an answer other than 200 means."""
    status, words = response.status_code, _message(response)
    said = f"it answers {status}" + (f" ({words})" if words else "")
    if status in (400, 413, 422):
        return Refused(words or said)
    if status == 429 or (status == 503 and "retry-after" in response.headers):
        return Busy(said, _seconds(response.headers))
    if status == 503:
        return Away(said)
    if status == 408 or status >= 500:
        # also a gateway's 502 and 504, by which it means that the server behind it broke off
        return Broken(said)
    return Unfit(said)


def _message(response: httpx.Response) -> str:
    """The words of an error's answer, on one line."""
    try:
        found = response.json()
        found = found.get("error", found)
        if isinstance(found, dict):
            found = found.get("message") or found.get("detail")
    except (ValueError, AttributeError):
        found = None
    return " ".join(str(found).split())[:500] if found else ""


def _seconds(headers: httpx.Headers) -> float | None:
    """A Retry-After header's seconds from now; it holds a number of them or a date, by the clock that the answer's own
    date is of."""
    if (retry_after := headers.get("retry-after")) is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError, TypeError):
        now = email.utils.parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - now)
    return None


def _later(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    backoff = wait_random_exponential(FIRST_WAIT, LONGEST_WAIT)(state)
    return max(error.after, backoff) if isinstance(error, Busy) and error.after is not None else backoff


def _words(error: BaseException) -> str:
    """The system's own words for a fault, which the layers above it may not repeat."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:200] or type(error).__name__
