"""A run whose shards are made by flow runs on a work pool. This process plans, starts the flow runs, watches them, and
writes the manifest."""

from __future__ import annotations

import asyncio
import signal
import time
from asyncio import to_thread
from collections.abc import Callable
from typing import Any

from flows.lifecycle.at_work import RunAtWork, at_work, finish_run, start_run, watched
from flows.lifecycle.stages import READING, Opaque, leave_out, plan_run
from flows.prefect_api import ui
from flows.prefect_api.flow_runs import FlowRuns, connected
from flows.prefect_api.recording import log
from flows.prefect_api.server import check_server
from flows.terminal.interruption import stopped_by
from flows.terminal.progress import current
from schemas.config import Config
from tasks.errors import on_one_line
from tasks.generation.completion import open_work
from tasks.generation.fleet_policy import LATE, Fleet
from tasks.output import claims, liveness
from tasks.output.directory import RunDirectory
from tasks.planning.cautions import cautions
from tasks.planning.plan import survey_key
from tasks.problems import survey_cache
from tasks.problems.survey import Survey
from tasks.storage.store import Stat, Store
from tasks.telemetry.metering import Meters

POLL = 5.0
"""Seconds between looks at flow runs and shards."""
SAY_EVERY = 60.0
"""Seconds between lines about flow runs that wait for a worker."""
LAST_WORDS = liveness.DEAD + 30.0
"""Seconds that flow runs with nothing left to do have to end, so that the manifest has their counts."""
GONE = "its machine or process is gone"


async def lead(
    config: Config, output: RunDirectory, meters: Meters, warn: Callable[[str], None], retry_failed: bool = False
) -> dict[str, Any]:
    """Let flow runs make the shards that an output lacks. Returns the manifest.

    Raises UserError for mistakes, those that a flow run finds included, FleetError where flow runs crash again and
    again, RunCancelled where they are cancelled.
    """
    check_server()

    def surveyed(key: str) -> Survey | None:
        found = survey_cache.load(output.store, key)
        return found if found and survey_cache.still_holds(found, config, warn) else None

    async with connected(config, warn) as flow_runs:
        current().say(READING)
        with meters.at("planning"):
            plan = await plan_run(Opaque(config), Opaque(warn), here=False, surveyed=Opaque(surveyed))
            plan = await leave_out(plan, output)
        for line in cautions(plan):
            warn(line)
        await ui.label_run(plan, output)
        log().info("%s usable problems in %s shards", plan.survey.usable, plan.shards)

        run = await start_run(plan, output, warn, retry_failed)
        if run.manifest is not None:
            return run.manifest
        async with at_work(run, meters) as working:
            async for work in open_work(run, None):
                await to_thread(survey_cache.keep, output.store, plan.survey, survey_key(plan))
                await to_thread(output.keep_stale, work.free)
                async with watched(run.identity.run_id):
                    await Watch(working, flow_runs, warn).until_done(len(work.free))
                working.engines_took += await to_thread(_engines_took, output.store)
            return await finish_run(working, warn)


class Watch:
    """What the parent knows of its flow runs. The number of its requests to server and store does not grow with the
    shards done."""

    def __init__(self, working: RunAtWork, flow_runs: FlowRuns, warn: Callable[[str], None]) -> None:
        self.run, self.flow_runs, self.warn = working.run, flow_runs, warn
        self.output, self.shards, self.progress = self.run.output, self.run.plan.shards, current()
        settings = self.run.plan.config.run
        assert settings.workers is not None
        self.fleet = Fleet(min(settings.workers, self.shards), settings.worker_restarts)
        self.living = working.session.living
        self.sessions: dict[str, str] = {}
        """File of a session to the id of its flow run; "" for other sessions."""
        self.marked_dead: dict[tuple[str, Stat], Stat] = {}
        """Files of sessions that count as ended because they were there before."""
        self.watched: set[str] = set()
        """Flow runs whose signs of life were looked for."""
        self.said = time.monotonic()
        self.said_late = False
        self.stale: dict[str, Stat] = {}

    async def until_done(self, open_shards: int) -> None:
        """Returns when every shard has a record, judged by its name, and the flow runs have ended."""
        self.stale = await to_thread(self.output.stale)
        token = await to_thread(self.output.token, self.run.identity)
        self.flow_runs.begin(self.run.identity.run_id, token, self.fleet.groups)
        try:
            self.fleet.adopt(await self.flow_runs.known())
            if adopted := self.fleet.at_work():
                self.progress.say(f"{_count(len(adopted))} of an earlier start still at work: going on with them")
            self.progress.begin(self.shards, self.shards - open_shards, "shards")
            await self._until_made(open_shards)
            await self._until_ended()
        except asyncio.CancelledError:
            await self._leave()
            raise
        except Exception:
            await self._cancel("")
            raise

    async def _until_made(self, left: int) -> None:
        while True:
            open_shards = await to_thread(self.output.unmade, self.shards, self.stale)
            self.progress.ended(left - len(open_shards), 0)
            left = len(open_shards)
            if not open_shards:
                return
            await self._look()
            await self._crash_the_lost()
            free = self.fleet.short(open_shards) and await to_thread(self._any_free, open_shards)
            for start in self.fleet.starts(open_shards, self.shards, free):
                before = self.fleet.newest(start.group)
                self.fleet.keep(await self.flow_runs.start(start))
                if before is not None:
                    why = before.message or "it ended while shards were left that it could not claim"
                    self.warn(f"flow run {before.name}: {why}; started again")
            await self._tell_of_waiting()
            working, waiting = (len(self.fleet.at_work(state)) for state in ("running", "waiting"))
            self.progress.made_by(f"{_count(working)} at work" + (f", {waiting} waiting" if waiting else ""))
            await asyncio.sleep(POLL)

    async def _look(self) -> None:
        """Look at the flow runs. Raises RunCancelled if somebody cancelled this process's own flow run."""
        looked_at = await self.flow_runs.states(self.fleet.at_work())
        for run in looked_at:
            self.fleet.keep(run)
        if crashed := {run.id for run in looked_at if run.state == "crashed"}:
            await to_thread(self._bury, crashed)

    def _bury(self, flow_runs: set[str]) -> None:
        """Count sessions of flow runs that Prefect saw end as ended, so that nobody waits for them."""
        self._signs(self.living.beats)  # they may have begun since the last look
        for key in (key for key, of in self.sessions.items() if of in flow_runs):
            claims.mark_dead(self.output.store, key)

    async def _crash_the_lost(self) -> None:
        """Set flow runs whose machine is gone to Crashed. For Prefect they would stay Running, unless an automation
        acts."""
        running = {run.id: run for run in self.fleet.at_work("running")}
        for id_ in self.watched - running.keys():
            self.living.forget(id_)
        self.watched = set(running)
        since = self.living.beats
        signs = await to_thread(self._signs, since)
        for id_, run in running.items():
            if self.living.silent(id_, signs.get(id_), since):
                why = f"no sign of life for {liveness.DEAD:.0f} s: {GONE}"
                self.fleet.keep(await self.flow_runs.crash(run, why))

    def _signs(self, since: int) -> dict[str, object]:
        """Flow run to a value that changes whenever its process renews its session: one listing, and one read for each
        new session. Silent sessions count as ended from then on, also for processes that have just begun."""
        stats = self.output.store.stats(claims.SESSIONS)
        signs: dict[str, object] = {}
        for key, now in stats.items():
            stat = self.marked_dead.get((key, now), now)
            if key not in self.sessions:
                owner = claims.session(self.output.store, key)
                self.sessions[key] = owner.flow_run if owner else ""
            if flow_run := self.sessions[key]:
                signs[flow_run] = (signs.get(flow_run), key, stat)
            if (key, now) not in self.marked_dead and self.living.silent(key, stat, since):
                claims.mark_dead(self.output.store, key)
                self.marked_dead |= dict.fromkeys(self.output.store.stats(key).items(), stat)
        return signs

    def _any_free(self, open_shards: list[int]) -> bool:
        """True if a flow run that is started now would find a free shard: one that nobody has claimed, or one of a dead
        process while no flow run works."""
        claimed = claims.claimed(self.output.store)
        held = {shard: claimed[shard] for shard in open_shards if shard in claimed}
        if len(held) < len(open_shards):
            return True
        return not self.fleet.expected() and len(claims.holders(self.output.store, self.living, held)) < len(held)

    async def _tell_of_waiting(self) -> None:
        late = [run for run in self.fleet.at_work() if run.late]
        if late and not self.said_late and not self.fleet.expected():
            self.said_late = True
            self.warn(
                f"no flow run is at work, and {_count(len(late))} did not begin within {LATE / 60:.0f} min, such as "
                f"{late[0].name}: if its worker is gone, set it to Crashed in Prefect, and it is started again"
            )
        waiting = len(self.fleet.at_work("waiting"))
        if waiting and time.monotonic() - self.said > SAY_EVERY:
            self.said = time.monotonic()
            self.progress.say(await self.flow_runs.waiting_for(waiting))

    async def _until_ended(self) -> None:
        """Wait for the flow runs to end, once no shard is open. Those that wait for a worker are cancelled; those that
        run find nothing more to do."""
        deadline = time.monotonic() + LAST_WORDS
        await self._look()
        await self.flow_runs.cancel(self.fleet.at_work("waiting"))
        while (running := self.fleet.at_work("running")) and time.monotonic() < deadline:
            since = self.living.beats
            owners = await to_thread(claims.sessions, self.output.store)
            there = {owner.flow_run for owner in owners if owner.ended or claims.alive(owner, self.living, since)}
            gone = {owner.flow_run for owner in owners} - there
            for run in running:
                if run.id in gone:
                    self.fleet.keep(await self.flow_runs.crash(run, GONE))
            await asyncio.sleep(min(POLL, 2.0))
            await self._look()

    async def _leave(self) -> None:
        """This process is stopped. Its flow runs end with it if a person wanted that."""
        if stopped_by() == signal.SIGINT or await self.flow_runs.own_is_cancelled():
            await self._cancel(": what they committed or checkpointed is kept")
        elif runs := self.fleet.at_work():
            self.progress.say(f"{_count(len(runs))} go on; the same command watches over them again")

    async def _cancel(self, ending: str) -> None:
        runs = self.fleet.at_work()
        try:
            await self.flow_runs.cancel(runs)
        except Exception as error:
            self.warn(on_one_line(f"flow runs could not be cancelled: {error}"))
        else:
            if runs:
                self.progress.say(f"cancelled {_count(len(runs))}{ending}")


def _engines_took(store: Store) -> float:
    """Seconds of the slowest start of engines, because flow runs start theirs side by side."""
    roles = [of for owner in claims.sessions(store) for of in owner.accounts.get("roles", {}).values()]
    return max((of.get("starting", 0.0) for of in roles), default=0.0)


def _count(runs: int) -> str:
    return f"{runs} flow run" + ("" if runs == 1 else "s")
