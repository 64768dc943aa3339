"""A process's part in a run, from its first look at the output to the manifest. Other processes may work on the same
output.

Knows nothing of engines and Prefect: what makes shards and what waits for others is handed in.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import Any

from tasks import claims
from tasks.claims import Owner, Session
from tasks.metering import add_up
from tasks.plan import Plan
from tasks.run_directory import Identity, Records, RunDirectory
from tasks.totals import describe


def take_up(plan: Plan, output: RunDirectory, retry_failed: bool) -> tuple[Identity, Records, dict[str, Any] | None]:
    """Begin the run of an output, or go on with it. Returns the records of done shards, and the manifest if the run is
    complete.

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
    return identity, records, manifest


async def complete(
    plan: Plan,
    output: RunDirectory,
    identity: Identity,
    session: Session,
    make: Callable[[list[int]], Awaitable[None]],
    wait: Callable[[dict[int, Owner]], Awaitable[None]] | None,
) -> Records:
    """Complete every shard: `make` makes those that no other process has, `wait` waits for those of others. Without
    `wait`, `make` gets all of them. Returns the records of all shards."""
    while True:
        records, retries = await to_thread(output.records), await to_thread(output.retries)
        if not (open_shards := records.open(plan.shards, retries)):
            return records
        if await to_thread(output.manifest):  # another process finished since we looked, or was mistaken
            if await to_thread(output.open_shards, plan.shards):
                await to_thread(output.reopen, identity, _size(plan))
            continue
        if wait is None:
            await make(open_shards)
            continue
        held = await to_thread(claims.holders, output.store, session.living)
        others = {n: held[n] for n in open_shards if n in held and held[n].session != session.name}
        if free := [shard for shard in open_shards if shard not in others]:
            await make(free)
        else:
            await wait(others)


def finish(
    plan: Plan,
    output: RunDirectory,
    identity: Identity,
    session: Session,
    records: Records,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Write the manifest, unless another process just did, and return it. Raises UserError if a record of another run
    appeared meanwhile."""
    output.check_whole(records, plan.models)
    manifest = output.manifest()
    if manifest is not None and manifest["retries"] >= output.retries():
        output.tidy()  # of what this process kept since
        return manifest
    session.renew()  # with what it wrote since it last did
    since = session.living.beats
    processes = claims.sessions(output.store)
    sessions = [owner._asdict() for owner in processes]
    accounts = {"accounts": add_up([owner.accounts for owner in processes]), "sessions": sessions}
    manifest = output.finish(identity, describe(plan, records.good, seconds) | accounts)
    if sum(claims.alive(owner, session.living, since) for owner in processes) <= 1:
        output.store.sweep()
    return manifest


def _size(plan: Plan) -> dict[str, int]:
    """What the run is to make."""
    return {"shards": plan.shards, "solutions": plan.survey.usable * plan.config.decoding.samples}
