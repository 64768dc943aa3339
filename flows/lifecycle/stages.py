"""The stages of a run that are tasks of a flow, and the waiting for other processes."""

from __future__ import annotations

import asyncio
import time
from asyncio import to_thread
from collections.abc import Callable
from functools import partial
from typing import Any

from flows.prefect_api.recording import log as run_log
from flows.prefect_api.recording import stage
from flows.terminal.progress import current
from tasks.decoding.trajectory import Trajectory
from tasks.errors import on_one_line
from tasks.generation import one_step
from tasks.generation.pipeline import Pipeline
from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.directory import RunDirectory
from tasks.output.liveness import DEAD
from tasks.output.session import Session
from tasks.planning import skip_done
from tasks.planning.plan import Plan, make_plan
from tasks.telemetry.progress import Round

READING = "reading the input and the models' configurations"

POLL = 5.0
"""Seconds between looks at shards that other processes make."""
LOG_EVERY = 10.0
"""Seconds between lines about a shard in the flow's log."""
NAMED = 10
"""Failures that the log names, of each shard."""


class Opaque:
    """Wraps an argument of a task, so that Prefect does not search through it."""

    def __init__(self, value: Any) -> None:
        self.value = value


def warning() -> Callable[[str], None]:
    """A function that reports a fault in the flow's log and on stderr, from any thread."""
    log, progress = run_log(), current()

    def warn(text: str) -> None:
        log.warning("%s", on_one_line(text))
        progress.say(text)

    return warn


@stage("plan", "plan the run")
async def plan_run(config: Opaque, warn: Opaque, here: bool = True, surveyed: Opaque | None = None) -> Plan:
    """Plan the run, in a thread. `surveyed`: a survey that is used again. Raises UserError for mistakes."""
    known = {} if surveyed is None else {"surveyed": surveyed.value}
    return await to_thread(partial(make_plan, config.value, warn.value, here=here, **known))


async def leave_out(plan: Plan, output: RunDirectory) -> Plan:
    """The plan without problems that earlier runs have solved, if input.skip_done says so. Reports what is left out."""
    plan, skipped = await to_thread(skip_done.decide, plan, output)
    for line in skip_done.describe(skipped) if skipped else []:
        run_log().info("left out: %s", on_one_line(line))
        current().say(f"left out: {line}")
    return plan


async def wait_for(others: dict[int, Owner], session: Session) -> None:
    """Wait until a shard of another process is done, or that process is dead."""
    who = sorted({str(owner) for owner in others.values()})
    current().say(
        f"every open shard is in the hands of another process ({', '.join(who[:3])}): waiting; one that shows no sign "
        f"of life for {DEAD:.0f} s is taken for dead, and its shards are taken over"
    )
    while others.keys() <= (await to_thread(claims.holders, session.store, session.living)).keys():  # noqa: ASYNC110
        await asyncio.sleep(POLL)


@stage("decode", "shard {shard_number:05d} decode")
async def decode_shard(pipeline: Opaque, shard: Opaque, shard_number: int) -> None:
    """Take a shard's trajectories to their ends. Log how far it is every LOG_EVERY seconds, and the end."""
    log, progress = run_log(), current()
    trajectories = shard.value.trajectories
    ended = failed = 0
    told = time.monotonic()

    def moved(trajectory: Trajectory, done: Round) -> None:
        nonlocal ended, failed, told
        progress.round(done)
        _tell_of_single_steps(pipeline.value)
        if trajectory.status == "failed":
            failed += 1
            if failed <= NAMED:
                t = trajectory
                log.error("%s: problem %.80r sample %d failed: %s", place, t.problem_id, t.sample, t.error)
        if time.monotonic() - told >= LOG_EVERY:
            told = time.monotonic()
            log.info("%s: %d of %d solutions ended", place, ended, len(trajectories))

    def over(trajectory: Trajectory) -> None:
        nonlocal ended
        ended += 1
        progress.ended(1, trajectory.status == "failed")

    place = f"shard {shard_number:05d}"
    await pipeline.value.decode(shard.value, moved, over)
    log.info("%s: decoded; %d solutions, %d of them failed", place, ended, failed)


def _tell_of_single_steps(pipeline: Pipeline) -> None:
    """Once in a process, as early as it is to be seen. Solutions that go on from steps may have one left."""
    tally, config = pipeline.session.tally, pipeline.plan.config
    if tally.single_told or config.input.prefix is not None:
        return
    if line := one_step.told(tally.single, tally.first_steps, config.prompt.separator, one_step.EARLY):
        tally.single_told = True
        warning()(line)


@stage("commit", "shard {shard_number:05d} commit")
async def commit_shard(pipeline: Opaque, shard: Opaque, shard_number: int) -> None:
    """Commit a shard, and log what is in it. Raises StoreError where the store does not take it."""
    record = await pipeline.value.commit(shard.value)
    if record is None:
        run_log().warning("shard %05d: another process has taken it over, and commits it", shard_number)
        return
    run_log().info(
        "shard %05d: committed; %d solutions, %d correct, %d failed, %d rows rejected",
        shard_number,
        *(record["counts"][name] for name in ("solutions", "correct", "failed", "rejected")),
    )
