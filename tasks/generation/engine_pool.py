"""Engines that several runs use one after another: started when the first of them has work, stopped with the block.

Each run finds their caches empty, so that what it took does not depend on those before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any

from schemas.config import RunConfig
from tasks.engines import Start, open_engines
from tasks.engines.spec import Engine
from tasks.planning.plan import Plan
from tasks.planning.roles import RolePlan, engines_of
from tasks.storage.store import Say
from tasks.telemetry.metering import Meters


def engines_for(
    roles: Mapping[str, RolePlan],
    run: RunConfig,
    say: Say,
    warn: Say,
    metered: Callable[[str, Start], Start] = lambda role, start: start,
) -> AbstractAsyncContextManager[dict[str, Any]]:
    """The engines that serve these roles, started with the block and stopped with it: see `open_engines`. Gives engines
    by their own roles, of which one may serve several."""
    return open_engines(
        engines_of(roles),
        {role: of_role.vocabulary for role, of_role in roles.items()},
        say,
        warn,
        run.engine_restarts,
        run.engine_patience,
        metered,
    )


class SharedEngines:
    """Those of plans that `plan.share_engines` made, or of one plan."""

    def __init__(self, plans: list[Plan], say: Say, warn: Say) -> None:
        self.roles = {role: of_role for plan in plans for role, of_role in plan.roles.items()}
        self.run = plans[0].config.run
        self.say, self.warn = say, warn
        self.stack = AsyncExitStack()
        self.engines: dict[str, Any] | None = None
        self.user: tuple[Plan, Meters] | None = None
        """The run that has them now: starts of engines that serve its roles are metered to it."""

    async def __aenter__(self) -> SharedEngines:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self.stack.__aexit__(kind, error, trace)

    async def of(self, plan: Plan, meters: Meters) -> tuple[dict[str, Any], float]:
        """A run's engines, by role, and the seconds that their start took: none where an earlier run started them."""
        before, self.user, began = self.user, (plan, meters), time.monotonic()
        if self.engines is not None:
            if before is None or before[1] is not meters:  # what one run cached must not make another cheaper
                await asyncio.gather(*(self.engines[spec.role].reset_prefix_cache() for spec in plan.engines))
            meters.mark_ready(plan.roles)
            return self._of(plan), 0.0
        opening = engines_for(self.roles, self.run, self.say, self.warn, self._metered)
        self.engines = await self.stack.enter_async_context(opening)
        meters.mark_ready(plan.roles)
        return self._of(plan), time.monotonic() - began

    def _of(self, plan: Plan) -> dict[str, Any]:
        assert self.engines is not None
        return plan.by_role(self.engines)

    def _metered(self, role: str, start: Start) -> Start:
        async def metered() -> Engine:
            assert self.user is not None
            plan, meters = self.user
            # an engine that serves a role of the run may be named after another's, which is not asked
            served = [name for name, of in plan.roles.items() if of.engine.role == role]
            name = role if role in served else next(iter(served), None)
            return await (start if name is None else meters.starting(name, start))()

        return metered
