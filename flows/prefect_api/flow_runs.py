"""The flow runs of a fleet, through Prefect's client: started, watched, cancelled. If the server is away, requests are
repeated."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.objects import State as PrefectState
from prefect.client.schemas.objects import WorkerStatus
from prefect.context import FlowRunContext
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_delay, wait_fixed

from schemas.config import Config
from tasks.errors import FleetError, RunCancelled, UserError, in_brief, on_one_line
from tasks.generation.fleet_policy import FlowRun, Start, State

T = TypeVar("T")

KEY = re.compile(r"stepwave:[0-9a-f]+:(\d+):(\d+):(\d+)")
"""Idempotency key of a flow run: token of the run, groups, group, attempt."""
PASSING = {408, 425, 429, *range(500, 600)}
"""Status codes of a server after which a request is repeated."""
PAGE = 200
"""Flow runs that a server shows at a time."""
ONCE = 20.0
"""Seconds that one request may take. Prefect's client itself repeats it for minutes and says nothing."""
AGAIN, SAY_EVERY = 3.0, 30.0
"""Seconds between tries to reach a server that is away, and between lines about it."""
LOOK = 60.0
"""Most seconds that count between two looks at flow runs. A process that was stopped saw nothing in between."""
SHORT = 10.0
"""Seconds for which it is asked by a process that has to stop."""


@asynccontextmanager
async def connected(config: Config, warn: Callable[[str], None]) -> AsyncIterator[FlowRuns]:
    """Raises UserError where there is no such deployment."""
    async with get_client() as client:
        flow_runs = FlowRuns(client, config, warn)
        await flow_runs.find_deployment()
        yield flow_runs


class Watch:
    """How long a flow run was seen in its states, by this process's own time: Prefect's times are of other clocks."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.since = 0.0
        """Seconds in this state."""
        self.running = 0.0
        """Seconds for which it ran."""
        self.looked = time.monotonic()

    def see(self, state: State) -> Watch:
        """It is in a state now."""
        now = time.monotonic()
        passed, self.looked = min(now - self.looked, LOOK), now
        if self.state == "running":
            self.running += passed
        self.since = self.since + passed if self.state == state else 0.0
        self.state = state
        return self


class FlowRuns:
    """The flow runs of one run. `begin` must come before any is started or looked for."""

    def __init__(self, client: PrefectClient, config: Config, warn: Callable[[str], None]) -> None:
        self.client, self.config, self.warn = client, config, warn
        self.patience = config.run.store_patience
        self.pool: str | None = None
        context = FlowRunContext.get()
        self.own = context.flow_run.id if context and context.flow_run else None
        self.watches: dict[str, Watch] = {}
        """Flow run to what was seen of it."""
        self.tags: list[str] = []
        self.token, self.groups = "", 0

    async def find_deployment(self) -> None:
        """Find the deployment and its work pool. Raises UserError where the server has no such deployment."""
        name = self.config.run.deployment
        try:
            found = await self._ask(lambda: self.client.read_deployment_by_name(name))
        except ObjectNotFound:
            raise UserError(
                f"run.deployment: the Prefect server at {self.client.api_url} has no deployment {name}; make it with "
                "`sh deploy/setup.sh` in the checkout's root, or name another"
            ) from None
        self.pool = found.work_pool_name
        if not await self._workers():
            self.warn(f"work pool {self.pool} has no worker online: flow runs wait until one comes")

    def begin(self, run_id: str, token: str, groups: int) -> None:
        """Set what flow runs are known by: the run's id, the token of its start, the number of groups of shards."""
        self.token, self.groups = token, groups
        self.tags = ["stepwave", f"run:{run_id}", f"fleet:{token}"]

    async def known(self) -> list[FlowRun]:
        """All flow runs that were started for this run since it began, by whichever parent."""
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"fleet:{self.token}"]))
        return await self._read(tagged)

    async def states(self, runs: Collection[FlowRun]) -> list[FlowRun]:
        """The flow runs as they are now; those that Prefect no longer has count as crashed. Raises RunCancelled if
        somebody cancelled this process's own flow run."""
        ids = [UUID(run.id) for run in runs] + ([self.own] if self.own else [])
        found = {run.id: run for run in await self._read(FlowRunFilter(id=FlowRunFilterId(any_=ids)))}
        gone = "Prefect no longer has it"
        now = [found.get(run.id) or replace(run, state="crashed", message=gone) for run in runs]
        return [await self._unless_cancelled(run) if run.state == "crashed" else run for run in now]

    async def _unless_cancelled(self, run: FlowRun) -> FlowRun:
        """A crashed flow run, with the state cancelled if it was cancelled: Prefect reports a flow run as crashed for
        some seconds while it is being cancelled."""
        history = await self._ask(partial(self.client.read_flow_run_states, UUID(run.id)))
        return replace(run, state="cancelled") if any(state.is_cancelling() for state in history) else run

    async def start(self, start: Start) -> FlowRun:
        """Start a flow run. Repeated calls with the same attempt start only one."""
        out = self.config.output.path
        when = await self._ask(self._servers_time) + datetime.timedelta(seconds=start.delay)
        parameters = {"config": self.config.model_dump(mode="json"), "group": start.group, "groups": self.groups}
        try:
            made = await self._ask(
                lambda: arun_deployment(
                    self.config.run.deployment,
                    client=self.client,
                    parameters=parameters,
                    timeout=0,
                    scheduled_time=when,
                    flow_run_name=on_one_line(f"shards {start.group}/{self.groups} of {out}"),
                    tags=self.tags,
                    idempotency_key=f"stepwave:{self.token}:{self.groups}:{start.group}:{start.attempt}",
                )
            )
        except PrefectHTTPStatusError as error:
            raise UserError(
                f"run.deployment: {self.config.run.deployment} does not accept this flow run ({in_brief(error)}); "
                "deploy it again with `sh deploy/setup.sh` in the root of this version's checkout"
            ) from error
        return FlowRun(str(made.id), made.name, start.group, self.groups, start.attempt, _state(made.state))

    async def crash(self, run: FlowRun, why: str) -> FlowRun:
        """Say of one that it crashed."""
        await self._ask(lambda: self.client.set_flow_run_state(UUID(run.id), Crashed(message=why), force=True))
        return replace(run, state="crashed", message=why)

    async def cancel(self, runs: Collection[FlowRun]) -> None:
        """Cancel flow runs. Those that have not begun end at once; others keep what they have and stop."""
        for run in runs:
            state: PrefectState[Any] = Cancelling(message="Cancelled with the run that it is a part of.")
            await self._ask(partial(self.client.set_flow_run_state, UUID(run.id), state))

    async def own_is_cancelled(self) -> bool:
        """Did somebody cancel this process's own flow run?"""
        try:
            async with asyncio.timeout(SHORT):
                await self.states([])
        except (TimeoutError, FleetError):
            return False
        except RunCancelled:
            return True
        return False

    async def waiting_for(self, waiting: int) -> str:
        """A line that says for what so many flow runs wait."""
        runs = "1 flow run waits" if waiting == 1 else f"{waiting} flow runs wait"
        if self.pool is None:
            return f"{runs} to be taken up"
        workers = await self._workers()
        online = f"{workers} are" if workers > 1 else "one is" if workers else "none is"
        return f"{runs} for a worker of work pool {self.pool}, where {online} online"

    async def _workers(self) -> int:
        """Workers online; 1 where the deployment needs none."""
        if (pool := self.pool) is None:
            return 1
        workers = await self._ask(lambda: self.client.read_workers_for_work_pool(pool))
        return sum(worker.status == WorkerStatus.ONLINE for worker in workers)

    async def _read(self, wanted: FlowRunFilter) -> list[FlowRun]:
        found: list[PrefectRun] = []
        while True:
            page = await self._ask(
                partial(self.client.read_flow_runs, flow_run_filter=wanted, limit=PAGE, offset=len(found))
            )
            found += page
            if len(page) < PAGE:
                break
        if any(run.id == self.own and _state(run.state) == "cancelled" for run in found):
            raise RunCancelled("this run was cancelled in Prefect; what is done is kept")
        return [
            FlowRun(
                str(run.id),
                run.name,
                group=int(key[2]),
                groups=int(key[1]),
                attempt=int(key[3]),
                state=_state(run.state),
                message=(run.state.message or "") if run.state else "",
                seconds=watch.running,
                since=watch.since,
            )
            for run in found
            if (key := KEY.fullmatch(run.idempotency_key or ""))
            and (watch := self.watches.setdefault(str(run.id), Watch())).see(_state(run.state))
        ]

    async def _servers_time(self) -> datetime.datetime:
        """The time of the Prefect server. A clock here that is ahead would delay flow runs."""
        answer = await self.client.hello()
        with contextlib.suppress(LookupError, TypeError, ValueError):
            return email.utils.parsedate_to_datetime(answer.headers["date"])
        return datetime.datetime.now(datetime.UTC)

    async def _ask(self, act: Callable[[], Awaitable[T]]) -> T:
        """The server's answer to a request, repeated until there is one. Raises FleetError if it stays away for the
        run's patience."""
        said: float | None = None

        async def once() -> T:
            async with asyncio.timeout(ONCE):
                return await act()

        def tell(state: RetryCallState) -> None:
            nonlocal said
            if said is None or time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                self.warn(f"Prefect's server: {_fault(state)}; flow runs go on, and it is asked again")

        def give_up(state: RetryCallState) -> NoReturn:
            tried = f"tried again for {state.seconds_since_start or 0:.0f} s"
            raise FleetError(f"Prefect's server: {_fault(state)}; {tried}") from None

        answer: T = await AsyncRetrying(
            retry=retry_if_exception(_passes),
            wait=wait_fixed(AGAIN),
            stop=stop_after_delay(self.patience),
            before_sleep=tell,
            retry_error_callback=give_up,
        )(once)
        if said is not None:
            self.warn("Prefect's server answers again")
        return answer


def _passes(error: BaseException) -> bool:
    """True if the same request may get an answer later."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code in PASSING
    return isinstance(error, TimeoutError | httpx.TransportError)


def _fault(state: RetryCallState) -> str:
    error = state.outcome and state.outcome.exception()
    return f"no answer within {ONCE:.0f} s" if isinstance(error, TimeoutError) else in_brief(error)


def _state(state: PrefectState[Any] | None) -> State:
    if state is None or state.is_scheduled() or state.is_pending() or state.is_paused():
        return "waiting"
    if state.is_completed():
        return "done"
    if state.is_cancelled() or state.is_cancelling():
        return "cancelled"
    return "crashed" if state.is_final() else "running"
