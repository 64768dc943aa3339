"""A process's part in a run, from its first look at the output to the manifest. Other processes may work on the same
output.

Knows nothing of engines and Prefect. What a flow does with it reads

    run = open_run(plan, output, retry_failed)
    if run.manifest is None:
        async with open_session(output.store, meters) as session:
            async for work in open_work(run, session):
                ...  # make the shards of `work.free`, or wait for `work.others`
            manifest = finish(run, session, seconds)
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tasks.generation.manifest import describe
from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.directory import Identity, RunDirectory
from tasks.output.run_files import Records
from tasks.output.session import Session
from tasks.planning.plan import Plan
from tasks.telemetry.accounts import add_up


@dataclass
class OpenRun:
    """A run that this process has begun, continues, or found complete."""

    plan: Plan
    output: RunDirectory
    identity: Identity
    records: Records = field(default_factory=Records)
    """The records of shards that were done at the last look."""
    manifest: dict[str, Any] | None = None
    """The manifest of a run that was complete when it was opened; None if shards were open."""


@dataclass(frozen=True)
class OpenWork:
    """What a run lacks at one look: either shards to make, or shards to wait for."""

    free: list[int]
    """Open shards that no other living process holds, in order."""
    others: dict[int, Owner] = field(default_factory=dict)
    """If none is free: each open shard and the process that makes it."""


def open_run(plan: Plan, output: RunDirectory, retry_failed: bool) -> OpenRun:
    """Begin the run of an output, or go on with it. It has a manifest if it is complete.

    Raises UserError as `RunDirectory.begin` does.
    """
    identity = output.begin(plan.config, plan.survey.fingerprint, _size(plan), retry_failed, plan.models)
    records, manifest = output.records(), output.manifest()
    output.check_whole(records, plan.models)
    if manifest is not None and records.open(plan.shards, manifest["retries"]):
        output.reopen(identity, _size(plan))
        manifest = None
    if manifest is not None:
        output.tidy()
    return OpenRun(plan, output, identity, records, manifest)


async def open_work(run: OpenRun, session: Session | None) -> AsyncIterator[OpenWork]:
    """What there is to do next, until every shard has a record. The caller does it before it asks again: it makes the
    free shards, or waits for those of others. Without a `session`, every open shard counts as free: its caller has
    other processes make them."""
    plan, output = run.plan, run.output
    while True:
        run.records, retries = await to_thread(output.records), await to_thread(output.retries)
        if not (open_shards := run.records.open(plan.shards, retries)):
            return
        if await to_thread(output.manifest):  # another process finished since we looked, or was mistaken
            if await to_thread(output.open_shards, plan.shards):
                await to_thread(output.reopen, run.identity, _size(plan))
            continue
        held = {} if session is None else await to_thread(claims.holders, output.store, session.living)
        others = {n: held[n] for n in open_shards if n in held and session and held[n].session != session.name}
        free = [shard for shard in open_shards if shard not in others]
        yield OpenWork(free, {} if free else others)


def finish(run: OpenRun, session: Session, seconds: dict[str, float]) -> dict[str, Any]:
    """Write the manifest, unless another process just did, and return it. `seconds`: the time that the run took, by
    what took it. Raises UserError if a record of another run appeared meanwhile."""
    output = run.output
    output.check_whole(run.records, run.plan.models)
    manifest = output.manifest()
    if manifest is not None and manifest["retries"] >= output.retries():
        output.tidy()  # of what this process kept since
        return manifest
    session.renew()  # with what it wrote since it last did
    since = session.living.beats
    processes = claims.sessions(output.store)
    sessions = [owner._asdict() for owner in processes]
    accounts = {"accounts": add_up([owner.accounts for owner in processes]), "sessions": sessions}
    manifest = output.finish(run.identity, describe(run.plan, run.records.good, seconds) | accounts)
    if sum(claims.alive(owner, session.living, since) for owner in processes) <= 1:
        output.store.sweep()
    return manifest


def _size(plan: Plan) -> dict[str, int]:
    """What the run is to make."""
    return {"shards": plan.shards, "solutions": plan.survey.usable * plan.config.decoding.samples}
