"""Rewards that were asked for after a run, kept beside its tables in OUT/rewards/NNNNN.parquet, a file for each shard,
so that nothing is asked twice. A file belongs to one steps table and to one PRM, wherever that lies. If either of them
is another now, or the file is damaged or cannot be read, it counts as missing. If the PRM is not on this machine any
more, it is known by its name.
"""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import REWARDS
from tasks.configuration.identity import prm_settings, unlike_models
from tasks.errors import StoreError, UserError
from tasks.export.runs import SourceRun, SourceShard
from tasks.export.solutions import KEY
from tasks.models.checkpoint_files import parsed
from tasks.problems.parquet.whole_table import whole_table

OF = b"stepwave.of"
PLACE = [*KEY, "step", "attempt"]
SCHEMA = pl.Schema(REWARDS)  # asked of an empty table, polars would import pandas for it


def load(run: SourceRun, number: int) -> pl.DataFrame:
    """What is known (REWARDS) of a shard of a run that is not `silent`, by its PRM."""
    if _key(number) not in run.reward_keys:
        return pl.DataFrame(schema=SCHEMA)
    try:
        content = run.output.store.read(_key(number))
        table = whole_table(content, run.output.store.path(_key(number)), REWARDS)
        if _is_of((pq.read_schema(io.BytesIO(content)).metadata or {}).get(OF), run, number):
            if "no_reward" not in table.schema.names:  # a file of an older release
                table = table.append_column("no_reward", pa.nulls(len(table), pa.bool_()))
            found = pl.DataFrame(table.cast(REWARDS))
            if _is_sound(found):
                return found
    except (UserError, StoreError, pa.ArrowException, OSError, ValueError):
        pass  # no file, cut, changed, or nothing that could be read
    return pl.DataFrame(schema=SCHEMA)


def keep(shard: SourceShard, rewards: pl.DataFrame) -> None:
    """Raises UserError or StoreError where the run's output cannot be written."""
    table = rewards.sort(PLACE).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(REWARDS)
    table = table.replace_schema_metadata({OF: _of(shard.run, shard.number)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    shard.run.output.store.write(_key(shard.number), sink.getvalue())


def lacking(run: SourceRun) -> bool:
    """True if there may be steps of a run that its PRM is to be asked about."""

    def may_lack(number: int, record: dict[str, Any]) -> bool:
        scored = record["counts"].get("scored", 0)
        return bool(record["tables"]["steps"]["rows"] > scored) and load(run, number).is_empty()

    return any(may_lack(number, record) for number, record in sorted(run.records.items()))


def any_kept(run: SourceRun) -> bool:
    """True if a reward of a run is known that was asked for after it."""
    return run.silent is None and any(load(run, number)["reward"].count() for number in sorted(run.records))


def filled(steps: pl.DataFrame, rewards: pl.DataFrame) -> pl.DataFrame:
    """Attempts, with rewards that were asked for after the run. `no_reward` (Boolean): the PRM was asked and gave a
    figure that is no reward."""
    later = rewards.select(*PLACE, "no_reward", later="reward")
    found = steps.join(later, on=PLACE, how="left", maintain_order="left")
    none = pl.col("no_reward").fill_null(False) & pl.col("reward").is_null()
    return found.with_columns(reward=pl.coalesce("reward", "later"), no_reward=none).drop("later")


def _is_sound(rewards: pl.DataFrame) -> bool:
    """True if every attempt has one reward, within its range, or null. NaN is above all numbers."""
    in_range = rewards["reward"].drop_nulls().is_between(0, 1)
    return bool(in_range.all()) and not rewards.select(PLACE).is_duplicated().any()


def _key(number: int) -> str:
    return f"rewards/{number:05d}.parquet"


def _of(run: SourceRun, number: int) -> bytes:
    steps = run.records[number]["tables"]["steps"]["sha256"]
    of = {"steps": steps, "prm": prm_settings(run.config), "model": run.prm_parts}
    return json.dumps(of, sort_keys=True).encode()


def _is_of(there: bytes | None, run: SourceRun, number: int) -> bool:
    """True if a file is of a run's steps and PRM."""
    ours = json.loads(_of(run, number))
    try:
        found = parsed(there or b"{}")
    except ValueError:
        return False
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        return False
    if not all(part is None or isinstance(part, str) for part in found["model"].values()):
        return False
    if found.keys() != ours.keys() or any(found[of] != ours[of] for of in ("steps", "prm")):
        return False  # or an older release kept it, which did not say what its PRM was
    return not unlike_models({"prm": found["model"]}, {"prm": ours["model"]})
