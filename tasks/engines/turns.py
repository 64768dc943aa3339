"""Engines that take turns on devices which cannot hold two of them awake. Pure asyncio.

A turn lasts as long as its role has calls in flight, so that all trajectories in flight go through a role before the
next one takes over: changing over costs seconds, in which nothing is computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

from tasks.decoding.requests import Answer, Answered, Request, unheard
from tasks.decoding.trajectory import Failure

JOINING = 4
"""Requests that may join a turn while other roles wait for theirs: so many times those that it began with."""


class Sleeper(Protocol):
    """A role's engine. `sleep` and `wake` are called while it has nothing in flight; where they raise, so do the calls
    that wait."""

    async def ask(self, requests: Sequence[Request[Answer]], answered: Answered = unheard) -> list[Answer | Failure]:
        """As `Supervisor.ask`."""

    async def sleep(self) -> None:
        """As `Supervisor.sleep`."""

    async def wake(self) -> None:
        """As `Supervisor.wake`."""

    async def reset_prefix_cache(self) -> None:
        """As `Supervisor.reset_prefix_cache`."""


class Turns:
    """The roles that share some devices. All are asleep at first, and never are two awake.

    The role with the most waiting requests goes next. A role that was passed over as often as there are other roles
    goes before it.
    """

    def __init__(self, engines: Mapping[str, Sleeper]) -> None:
        self.engines = dict(engines)
        self.awake: str | None = None
        self.calls = 0
        """In flight, all at `awake`."""
        self.begun_with = self.joined = 0
        """Requests that the turn began with, and that joined it while others waited."""
        self.waiting: dict[str, dict[asyncio.Future[None], int]] = {role: {} for role in engines}
        """Role to its calls that wait to be let in, with the number of their requests."""
        self.passed = dict.fromkeys(engines, 0)
        """Turns that others got while the role waited."""
        self.change: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def turn(self, role: str, requests: int) -> AsyncIterator[Sleeper]:
        """Wait until the role is awake, and keep it so meanwhile."""
        if self._joins(role, requests):
            self.calls += 1
        else:
            await self._wait(role, requests)
        try:
            yield self.engines[role]
        finally:
            self.calls -= 1
            self._next()

    async def reset_prefix_cache(self) -> None:
        """Drop cached prefixes while nothing is asked; engines that sleep have none."""
        if self.awake is not None:
            await self.engines[self.awake].reset_prefix_cache()

    async def close(self) -> None:
        """Cancel a change-over. The caller closes the engines, whatever their state."""
        if self.change is not None:
            self.change.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self.change])

    def _joins(self, role: str, requests: int) -> bool:
        if self.change is not None or role != self.awake:
            return False
        others_wait = any(calls for other, calls in self.waiting.items() if other != role)
        self.joined += others_wait * requests
        return not others_wait or self.joined <= JOINING * self.begun_with

    async def _wait(self, role: str, requests: int) -> None:
        entry = asyncio.get_running_loop().create_future()
        self.waiting[role][entry] = requests
        self._next()
        try:
            await entry
        except BaseException:
            if self.waiting[role].pop(entry, None) is None and not entry.cancelled() and entry.exception() is None:
                self.calls -= 1  # let in and cancelled at the same moment
            self._next()
            raise

    def _next(self) -> None:
        """Begin the next turn, where the last one is over and somebody waits."""
        roles = [role for role, calls in self.waiting.items() if calls]
        if self.calls or self.change is not None or not roles:
            return
        longest = max(roles, key=lambda role: self.passed[role])
        role = max(roles, key=lambda role: sum(self.waiting[role].values()))
        if self.passed[longest] >= len(self.engines) - 1:
            role = longest
        for other in roles:
            self.passed[other] += 1
        self.joined = 0
        if role == self.awake:
            self._let_in(role)
        else:
            self.change = asyncio.ensure_future(self._change_to(role))

    async def _change_to(self, role: str) -> None:
        """Change over in a task of its own, so that a cancelled call leaves no engine half awake."""
        error: Exception | None = None
        try:
            if self.awake is not None:
                await self.engines[self.awake].sleep()
                self.awake = None
            await self.engines[role].wake()
            self.awake = role
        except Exception as fault:
            error = fault
        finally:
            self.change = None
        self._let_in(role, error)

    def _let_in(self, role: str, error: Exception | None = None) -> None:
        self.passed[role] = 0
        entries, self.waiting[role] = self.waiting[role], {}
        self.begun_with = sum(entries.values())
        for entry in entries:
            if entry.done():
                continue  # cancelled, but has not come to know it yet
            if error is not None:
                entry.set_exception(error)
            else:
                entry.set_result(None)
                self.calls += 1
        self._next()


class InTurn:
    """One role of several that take turns, as the decoding core sees it."""

    def __init__(self, role: str, turns: Turns) -> None:
        self.role, self.turns = role, turns

    def turn(self, requests: int) -> AbstractAsyncContextManager[Sleeper]:
        """The engine itself, awake for as long as the block runs."""
        return self.turns.turn(self.role, requests)

    async def ask(self, requests: Sequence[Request[Answer]], answered: Answered = unheard) -> list[Answer | Failure]:
        """As `InferenceEngine.ask`, once it is the role's turn."""
        async with self.turn(len(requests)) as engine:
            return await engine.ask(requests, answered)

    async def reset_prefix_cache(self) -> None:
        """As `Supervisor.reset_prefix_cache`."""
        await self.turns.reset_prefix_cache()
