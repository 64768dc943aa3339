"""The endpoints of an `openai` engine: which of them is asked, and what happens to one that fails.

All requests about a problem go to one endpoint, to use its prefix cache; while that is away, to another. An endpoint at
fault is left out until it passes the handshake again, and what it failed on goes to another first. One that passes it
and fails at work again and again comes back ever later, and gets one request until it has answered one. A request is
suspected itself where several endpoints break off on it, or the only one there does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
from tasks.engines.answers import models
from tasks.engines.endpoint import Endpoint
from tasks.engines.handshake import greet
from tasks.engines.served import Served, read_key, read_served
from tasks.engines.server_faults import Away, Fault, Malformed, Refused, Unfit
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError, on_one_line
from tasks.models.model_files import SERVED
from tasks.models.tokenizer import ModelVocabulary

T = TypeVar("T")

CONTACT_PATIENCE = 15.0
"""Seconds for which endpoints are tried at the start: their addresses are more likely wrong than they away."""
LAGGARDS = 15.0
"""Seconds for which endpoints that answer wait at the start for those that do not."""
LOOK = 5.0
"""Seconds for which a server may take to say what it has, where nothing is asked of it yet."""
BREAKS = 2
"""Times that endpoints may break off on a request before it is suspected of being the cause."""
LONGEST_OUT = 600.0
"""Seconds for which an endpoint is left out at most while others do its work."""


class Gone(Exception):
    """No endpoint has been there for as long as the engine waits."""


class Choked(Exception):
    """Endpoints broke off on one request again and again."""


async def visit(spec: EngineSpec, vocabulary: ModelVocabulary) -> dict[str, str]:
    """Address of each endpoint to how it was found, without a run. Raises UserError where one is unfit."""
    pool = EndpointPool(spec, vocabulary, read_served(spec.role, spec.arguments), lambda warning: None)
    try:
        await pool.contact()
    except Away:
        pass  # servers may be started later
    except Unfit as fault:
        raise UserError(f"models.{spec.role}.engine.endpoints: {fault}") from fault
    finally:
        await pool.close()
    return {e.url: f"serves {e.model}" if e.up else f"away now: {e.fault}" for e in pool.endpoints}


@dataclass
class _Tries:
    """What became of one request so far."""

    failed: dict[Endpoint, Fault] = field(default_factory=dict)
    breaks: int = 0
    turned_away: float | None = None
    """When first."""

    def __str__(self) -> str:
        return "; ".join(f"{endpoint.url}: {fault}" for endpoint, fault in self.failed.items())


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
                [name] = models(await endpoint.get("/v1/models"))
                return name
        except (Fault, TimeoutError, ValueError):  # what is wrong the handshake tells
            continue
        finally:
            await endpoint.close()
    return None


class EndpointPool:
    """The endpoints that serve one role: which of them are up, and which one a problem's requests go to."""

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
        self.missed = asyncio.Event()
        """Is none?"""
        self.missed.set()
        self.heard = time.monotonic()
        """When one last gave a good answer."""
        self.sent = 0
        """Requests that were sent, again after a fault."""
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
        greetings = [asyncio.create_task(self._greet(endpoint)) for endpoint in self.endpoints]
        try:
            _, slow = await asyncio.wait(greetings, timeout=LAGGARDS)
            while slow and not self.there.is_set():
                _, slow = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for greeting in greetings:
                greeting.cancel()
            faults = await asyncio.gather(*greetings, return_exceptions=True)
        for endpoint, fault in zip(self.endpoints, faults, strict=True):
            if isinstance(fault, asyncio.CancelledError):
                endpoint.fault = f"no answer within {LAGGARDS:g} s"
            elif isinstance(fault, Unfit):
                raise Unfit(f"{endpoint.url}: {fault}")
            elif isinstance(fault, BaseException) and not isinstance(fault, Fault):
                raise fault
        if not self.there.is_set():
            raise Away(self._faults())

    async def close(self) -> None:
        """Close the connections to all endpoints."""
        for task in self.returning.values():
            task.cancel()
        await asyncio.gather(*self.returning.values(), return_exceptions=True)
        for endpoint in self.endpoints:
            await endpoint.close()

    async def answer(self, path: str, body: dict[str, Any], room: int, affinity: int, read: Callable[[Any], T]) -> T:
        """What `read` makes of an endpoint's answer, of at most `room` bytes, whichever gives one.

        Raises Refused, Gone, Choked.
        """
        tries = _Tries()
        while True:
            endpoint = await self._choose(affinity, tries.failed)
            async with endpoint.connection() as client:
                if not endpoint.up:
                    continue  # it was left out while this request waited for its turn
                life = endpoint.lives
                self.sent += 1
                try:
                    answer = read(await endpoint.post(path, {"model": endpoint.model, **body}, room, client))
                except Fault as fault:
                    # it is kept, and what it came from would keep the answer
                    fault.__traceback__ = fault.__cause__ = fault.__context__ = None
                    self._judge(endpoint, life, fault, tries)
                else:
                    self._answered(endpoint, tries)
                    return answer

    def _judge(self, endpoint: Endpoint, life: int, fault: Fault, tries: _Tries) -> None:
        """Decide whether endpoint or request failed. Returns if the request is to be asked again; else raises Refused,
        Gone or Choked."""
        tries.failed[endpoint] = fault
        others = any(other.up and other not in tries.failed for other in self.endpoints)
        if isinstance(fault, Refused):
            if others and len(tries.failed) < BREAKS:  # one that refuses everything must not cost everything
                return
            raise fault
        if endpoint.up and endpoint.lives == life:  # else that was told, and is mended
            self._leave_out(endpoint, fault)
        if isinstance(fault, Away):
            now = time.monotonic()
            tries.turned_away = tries.turned_away or now
            if now - max(tries.turned_away, self.heard) > self.served.patience:
                raise Gone(f"no endpoint took a request for {self.served.patience:g} s: {tries}") from fault
            return
        tries.breaks += 1
        # what is malformed does a server no harm: all others may be asked as well
        if tries.breaks >= BREAKS and not (isinstance(fault, Malformed) and others):
            raise Choked(f"{tries}, not for the first time on this request") from fault

    def _answered(self, endpoint: Endpoint, tries: _Tries) -> None:
        endpoint.faults = 0
        self.heard = time.monotonic()
        for other, fault in tries.failed.items():
            if isinstance(fault, Refused) and other.up:
                self._leave_out(other, Unfit(f"it refused what another endpoint answered ({fault})"))

    async def _choose(self, affinity: int, failed: dict[Endpoint, Fault]) -> Endpoint:
        """The endpoint that a problem's requests go to, or while that is away or on trial the next; of those that
        did not fail on this request, where there are such. Raises Gone where all are away."""
        while not self.there.is_set():
            try:
                async with asyncio.timeout(self.served.patience - (time.monotonic() - self.away_since)):
                    await self.there.wait()
            except TimeoutError:
                if not self.there.is_set():
                    raise Gone(f"all endpoints were away for {self.served.patience:g} s: {self._faults()}") from None
        up = [endpoint for endpoint in self.endpoints if endpoint.up]
        up = [endpoint for endpoint in up if endpoint not in failed] or up
        # one request is enough to find an endpoint out
        up = [endpoint for endpoint in up if not (endpoint.on_trial or (failed and endpoint.faults))] or up
        return max(up, key=lambda endpoint: weight(affinity, endpoint.url))

    async def _greet(self, endpoint: Endpoint) -> Fault | None:
        """Use an endpoint again if it passes the handshake; else keep the reason."""
        try:
            await greet(endpoint, self.spec, self.served, self.vocabulary)
        except Fault as fault:
            endpoint.fault = on_one_line(str(fault))
            return fault
        self.name = self.name or endpoint.model
        if endpoint.model != self.name:
            endpoint.fault = f"it serves {endpoint.model}, which is not {self.name}, the model of this run"
            return Unfit(f"{endpoint.fault}; start it with that, or say which one as model")
        endpoint.up = True
        endpoint.lives += 1
        self.there.set()
        self.missed.clear()
        return None

    def _leave_out(self, endpoint: Endpoint, fault: Fault) -> None:
        """Send no more work to an endpoint until it passes the handshake again."""
        endpoint.up, endpoint.fault = False, on_one_line(str(fault))
        endpoint.faults += 1
        if not any(other.up for other in self.endpoints):
            self.away_since = time.monotonic()
            self.there.clear()
            self.missed.set()
        self._await_return(endpoint)

    def _await_return(self, endpoint: Endpoint) -> None:
        self.warn(f"the {self.spec.role} endpoint {endpoint.url} is left out for now: {endpoint.fault}")
        self.returning[endpoint.url] = asyncio.create_task(self._return(endpoint))

    async def _return(self, endpoint: Endpoint) -> None:
        """Ask an endpoint ever less often whether it is back; at once the first time since its last answer, and sooner
        where no other is there."""
        if endpoint.faults > 1:
            times = min(endpoint.faults, 16)
            await asyncio.sleep(min(pace.FIRST_WAIT * 2**times, pace.LONGEST_WAIT))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pace.FIRST_WAIT * 4**times, LONGEST_OUT)):
                    await self.missed.wait()
        wait = wait_random_exponential(pace.FIRST_WAIT, pace.LONGEST_WAIT)
        await AsyncRetrying(retry=retry_if_not_result(lambda fault: fault is None), wait=wait)(self._greet, endpoint)
        self.warn(f"the {self.spec.role} endpoint {endpoint.url} is back")

    def _faults(self) -> str:
        return "; ".join(f"{endpoint.url}: {endpoint.fault}" for endpoint in self.endpoints if not endpoint.up)


def weight(affinity: int, url: str) -> bytes:
    """Rendezvous: a problem's requests go to the endpoint of most weight. Where one goes only its problems move."""
    return blake2b(f"{affinity} {url}".encode(), digest_size=8).digest()
