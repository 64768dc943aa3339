"""The output of roll-outs.

rollouts.json            what was asked, of which run and shards, how many steps were chosen; sealed as records are
steps/00000.parquet      the problem set: the chosen steps of a shard of the source; absent where it gives none
run/                     an ordinary run over it

rollouts.json is there before any other file, and says `chosen: null` until the problem set is whole. Of several
processes that begin at once, all choose from the shards that the first one found, so that all make the same of them.
"""

from __future__ import annotations

from typing import Any

from tasks.errors import UserError
from tasks.export.rollouts.record import RECORD, SHAPE, read_record, sealed
from tasks.storage.sealed import unseal
from tasks.storage.store import Store

STEPS = "steps"


def begin(store: Store, asked: dict[str, Any], of: dict[str, Any], shards: dict[str, Any]) -> dict[str, Any]:
    """Take the place for roll-outs that are `asked` of a run (`of`, with its run_id) and of its `shards`, those that
    are `taken` among them, or go on with them; returns rollouts.json. Raises UserError where it holds anything else."""
    there = store.read_or_none(RECORD)
    if there is None and (strangers := store.keys("")):
        there = store.read_or_none(RECORD)  # another process may have begun just now
        if there is None:
            raise UserError(
                f"{store.path()}: holds files that are not roll-outs' (such as {strangers[0]}); give DEST a place of "
                "its own"
            )
    if there is None:
        store.create(RECORD, sealed({"asked": asked, "of": of, "shards": shards, "chosen": None}))
        there = store.read(RECORD)
    record = unseal(there, SHAPE)
    if record is None:
        raise UserError(f"{store.path(RECORD)}: is damaged; give another DEST")
    if record["of"]["run_id"] != of["run_id"]:
        raise UserError(
            f"{store.path()}: holds roll-outs of another run ({record['of']['run_id']} there, {of['run_id']} here); "
            "give another DEST"
        )
    was = record["asked"]
    unlike = [f"{name}: {was.get(name)} there, {value} here" for name, value in asked.items() if was.get(name) != value]
    if unlike:
        raise UserError(f"{store.path()}: holds roll-outs with other options ({'; '.join(unlike)}); give another DEST")
    return record


def steps_key(shard: int) -> str:
    """Key of the problem set's file of a shard."""
    return f"{STEPS}/{shard:05d}.parquet"


def keep(store: Store, record: dict[str, Any], chosen: dict[str, Any], files: list[str]) -> dict[str, Any]:
    """Say that the problem set is whole, unless another process has; returns rollouts.json. `record`: what `begin`
    returned; `files`: those that the set has."""
    there = read_record(store)
    if there is not None and there["chosen"] is not None:
        return there
    store.delete([key for key in store.keys(STEPS) if key not in files])
    record = record | {"chosen": chosen}
    store.write(RECORD, sealed(record))
    return record
