"""Rewards that were asked for after a run, kept beside its tables: OUT/rewards/NNNNN.parquet for a shard, in which
nothing is asked twice. A file is of one steps table and one PRM; where either is another now, it counts as not there.
"""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import REWARDS
from tasks.export.runs import Shard
from tasks.export.scoring import PLACE, SCHEMA

OF = b"stepwave.of"


def load(shard: Shard, prm: dict[str, Any]) -> pl.DataFrame:
    """What is known (REWARDS), by the PRM of this identity."""
    content = shard.run.output.store.read_or_none(_key(shard))
    try:
        file = pq.ParquetFile(io.BytesIO(content or b""))
        if (file.schema_arrow.metadata or {}).get(OF) == _of(shard, prm):
            return pl.DataFrame(file.read(REWARDS.names).cast(REWARDS))
    except (pa.ArrowException, OSError, ValueError):
        pass  # cut or changed
    return pl.DataFrame(schema=SCHEMA)


def keep(shard: Shard, prm: dict[str, Any], rewards: pl.DataFrame) -> None:
    """UserError or StoreError where the run's output cannot be written."""
    table = rewards.sort(PLACE).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(REWARDS)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({OF: _of(shard, prm)}), sink, compression="zstd")
    shard.run.output.store.write(_key(shard), sink.getvalue())


def filled(steps: pl.DataFrame, rewards: pl.DataFrame) -> pl.DataFrame:
    """Attempts, those that had no reward with what was asked for them since."""
    later = rewards.select(*PLACE, later="reward")
    found = steps.join(later, on=PLACE, how="left", maintain_order="left")
    return found.with_columns(reward=pl.coalesce("reward", "later")).drop("later")


def _key(shard: Shard) -> str:
    return f"rewards/{shard.number:05d}.parquet"


def _of(shard: Shard, prm: dict[str, Any]) -> bytes:
    steps = shard.run.records[shard.number]["tables"]["steps"]["sha256"]
    return json.dumps({"steps": steps, "prm": prm}, sort_keys=True).encode()
