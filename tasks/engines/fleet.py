"""The endpoints of an `openai` engine: which of them is asked, and what becomes of one at fault.

All that is asked about a problem goes to one endpoint, so that its prefix cache holds; while that is away, to another.
An endpoint at fault is left out until it passes the handshake again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    retry_if_not_result,
    stop_after_delay,
    wait_random_exponential,
)

from tasks.engines import endpoint as pace
from tasks.engines.endpoint import Away, Broken, Endpoint, Fault, Refused, Unfit
from tasks.engines.handshake import greet, models_of
from tasks.engines.served import Served, read_key, read_served
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError
from tasks.model_files import SERVED
from tasks.vocabulary import ModelVocabulary

T = TypeVar("T")

CONTACT_PATIENCE = 15.0
"""Seconds for which endpoints are tried at the start: their addresses are more likely wrong than they away."""
LOOK = 5.0
"""Seconds for which a server may take to say what it has, where nothing is asked of it yet."""
BREAKS = 2
"""Times that endpoints may break off on a request before it is suspected of being the cause."""


class Gone(Exception):
    """No endpoint has been there for as long as the engine waits."""


class Choked(Exception):
    """Endpoints broke off on one request again and again."""


async def visit(spec: EngineSpec, vocabulary: ModelVocabulary) -> dict[str, str]:
    """Address of each endpoint to how it was found, without a run. Raises UserError where one is unfit."""
    fleet = Fleet(spec, vocabulary, read_served(spec.role, spec.arguments), lambda warning: None)
    try:
        await fleet.contact()
    except Away:
        pass  # servers may be started later
    except Unfit as fault:
        raise UserError(f"models.{spec.role}.engine.endpoints: {fault}") from fault
    finally:
        await fleet.close()
    return {e.url: f"serves {e.model}" if e.up else f"not there now: {e.fault}" for e in fleet.endpoints}


async def served_as(role: str, arguments: dict[str, Any]) -> str | None:
    """The name of a model at its servers: the one that is given, or the only one of the first that is there now."""
    served = read_served(role, arguments)
    if served.model is not None:
        return served.model
    key = read_key(role, served)
    for url in served.endpoints:
        endpoint = Endpoint(url, served.model_copy(update={"concurrency": 1}), key)
        try:
            async with asyncio.timeout(LOOK):
                [name] = models_of(await endpoint.get("/v1/models"))
                return name
        except (Fault, TimeoutError, ValueError):  # what is wrong the handshake tells
            continue
        finally:
            await endpoint.close()
    return None


class Fleet:
    def __init__(
        self, spec: EngineSpec, vocabulary: ModelVocabulary, served: Served, warn: Callable[[str], None]
    ) -> None:
        self.spec, self.vocabulary, self.served, self.warn = spec, vocabulary, served, warn
        key = read_key(spec.role, served)
        self.endpoints = [Endpoint(url, served, key) for url in served.endpoints]
        self.there = asyncio.Event()
        """Is any endpoint up?"""
        self.away_since = time.monotonic()
        """Since when none is, where none is."""
        self.returning: dict[str, asyncio.Task[None]] = {}
        self.name = spec.checkpoints.get(spec.model, {}).get(SERVED)
        """Under which the model is served, where that is known."""

    async def open(self) -> None:
        """Greet the endpoints. Raises UserError where one of them is unfit, or none can be reached."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Away),
            wait=wait_random_exponential(pace.FIRST_WAIT, pace.LONGEST_WAIT),
            stop=stop_after_delay(CONTACT_PATIENCE),
            reraise=True,
        )
        try:
            await retrying(self.contact)
        except (Away, Unfit) as fault:
            raise UserError(f"models.{self.spec.role}.engine.endpoints: {fault}") from fault
        for endpoint in self.endpoints:
            if not endpoint.up:
                self._await_return(endpoint)

    async def contact(self) -> None:
        """Greet the endpoints once. Raises Unfit where one of them is, Away where none is there."""
        faults = await asyncio.gather(*(self._greet(endpoint) for endpoint in self.endpoints))
        for endpoint, fault in zip(self.endpoints, faults, strict=True):
            if isinstance(fault, Unfit):
                raise Unfit(f"{endpoint.url}: {fault}")
        if not self.there.is_set():
            raise Away(self._faults())

    async def close(self) -> None:
        for task in self.returning.values():
            task.cancel()
        await asyncio.gather(*self.returning.values(), return_exceptions=True)
        for endpoint in self.endpoints:
            await endpoint.close()

    async def answer(self, path: str, body: dict[str, Any], home: int, read: Callable[[Any], T]) -> T:
        """What `read` makes of an endpoint's answer, whichever gives one. Raises Refused, Gone, Choked."""
        breaks = 0
        while True:
            endpoint = await self._choose(home)
            async with endpoint.connection() as client:
                if not endpoint.up:
                    continue  # it was left out while this request waited for its turn
                life = endpoint.lives
                try:
                    answer = read(await endpoint.post(path, {"model": endpoint.model, **body}, client))
                except Refused:
                    raise
                except Fault as fault:
                    if endpoint.up and endpoint.lives == life:  # else that was told, and is mended
                        self._leave_out(endpoint, fault)
                    if isinstance(fault, Broken):
                        breaks += 1
                        if breaks == BREAKS:
                            raise Choked(f"{endpoint.url}: {fault}, not for the first time on this request") from fault
                else:
                    endpoint.faults = 0
                    return answer

    async def _choose(self, home: int) -> Endpoint:
        """The endpoint at which a problem is at home, or while that is away the next. Raises Gone where all are."""
        while not self.there.is_set():
            try:
                async with asyncio.timeout(self.served.patience - (time.monotonic() - self.away_since)):
                    await self.there.wait()
            except TimeoutError:
                if not self.there.is_set():
                    raise Gone(f"no endpoint was there for {self.served.patience:g} s: {self._faults()}") from None
        up = [endpoint for endpoint in self.endpoints if endpoint.up]
        return max(up, key=lambda endpoint: weight(home, endpoint.url))

    async def _greet(self, endpoint: Endpoint) -> Fault | None:
        """Take an endpoint in if it is what it should be; else say why not."""
        try:
            await greet(endpoint, self.spec, self.served, self.vocabulary)
        except Fault as fault:
            endpoint.fault = str(fault)
            return fault
        self.name = self.name or endpoint.model
        if endpoint.model != self.name:
            endpoint.fault = f"it serves {endpoint.model}, which is not {self.name}, the model of this run"
            return Unfit(f"{endpoint.fault}; start it with that, or say which one as model")
        endpoint.up = True
        endpoint.lives += 1
        self.there.set()
        return None

    def _leave_out(self, endpoint: Endpoint, fault: Fault) -> None:
        """Send no more work to an endpoint until it passes the handshake again."""
        endpoint.up, endpoint.fault = False, str(fault)
        endpoint.faults += 1
        if not any(other.up for other in self.endpoints):
            self.away_since = time.monotonic()
            self.there.clear()
        self._await_return(endpoint)

    def _await_return(self, endpoint: Endpoint) -> None:
        self.warn(f"the {self.spec.role} endpoint {endpoint.url} is left out for now: {endpoint.fault}")
        self.returning[endpoint.url] = asyncio.create_task(self._return(endpoint))

    async def _return(self, endpoint: Endpoint) -> None:
        """Ask an endpoint ever less often whether it is back; at once the first time since its last answer."""
        if endpoint.faults > 1:
            await asyncio.sleep(min(pace.FIRST_WAIT * 2**endpoint.faults, pace.LONGEST_WAIT))
        wait = wait_random_exponential(pace.FIRST_WAIT, pace.LONGEST_WAIT)
        await AsyncRetrying(retry=retry_if_not_result(lambda fault: fault is None), wait=wait)(self._greet, endpoint)
        self.warn(f"the {self.spec.role} endpoint {endpoint.url} is back")

    def _faults(self) -> str:
        return "; ".join(f"{endpoint.url}: {endpoint.fault}" for endpoint in self.endpoints if not endpoint.up)


def weight(home: int, url: str) -> bytes:
    """Rendezvous: the endpoint of most weight is a problem's home, and where one goes only its problems move."""
    return blake2b(f"{home} {url}".encode(), digest_size=8).digest()
