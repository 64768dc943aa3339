"""The runs that a dataset is made of, read a committed shard at a time."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import Config, StorageConfig
from schemas.tables import SOLUTIONS, STEPS
from tasks.config_file import parse_config
from tasks.errors import UserError
from tasks.identity import OF_PRM, differences
from tasks.other_outputs import told_of
from tasks.run_directory import RunDirectory
from tasks.store import Store

SOLUTION_COLUMNS = [
    "problem_id",
    "sample",
    "problem",
    "solution",
    "correct",
    "status",
    "steps",
    "draft_steps",
    "min_reward",
    "last_reward",
    "metadata",
]
STEP_COLUMNS = [
    "problem_id",
    "sample",
    "step",
    "attempt",
    "parent",
    "role",
    "text",
    "tokens",
    "reward",
    "accepted",
    "wave",
]


@dataclass(frozen=True)
class Run:
    number: int
    """Place among the runs that were named."""
    config: Config
    output: RunDirectory
    records: dict[int, dict[str, Any]]
    """Of the shards that are committed."""
    manifest: dict[str, Any] | None
    shards: int | None
    """That it is to have, where that is known."""

    @property
    def address(self) -> str:
        return self.output.store.path()

    @property
    def run_id(self) -> str:
        return str(next(iter(self.records.values()))["run_id"])

    @property
    def silent(self) -> str | None:
        """Why its PRM cannot be asked about its steps any more; None where it can."""
        prm = self.config.models.prm
        if prm is None:
            return "the configuration names no PRM (--set models.prm.model and models.prm.format do)"
        if prm.format == "confidence":
            return "rewards are the writers' own confidence, which cannot be asked for later"
        return None

    @property
    def threshold(self) -> float | None:
        """δ where the method has one that was decided."""
        decoding = self.config.decoding
        value = getattr(decoding.accept, "threshold", None) if decoding.method == "rsd" else None
        if value == "auto":
            value = ((self.manifest or {}).get("calibration") or {}).get("threshold")
        return None if value is None else float(value)


@dataclass(frozen=True)
class Shard:
    run: Run
    number: int
    solutions: pl.DataFrame
    """SOLUTION_COLUMNS."""
    steps: pl.DataFrame
    """STEP_COLUMNS."""


def open_runs(outs: list[str], storage: StorageConfig, patience: float, changes: Sequence[str] = ()) -> list[Run]:
    """The runs with these outputs, `changes` made to the configuration of each. UserError where one is none, is
    damaged, or has no shard committed yet, and where another PRM is named than the one whose rewards it holds."""
    runs: list[Run] = []
    for number, out in enumerate(outs):
        run = open_run(Store(out, storage, patience), number, changes)
        if (twin := next((other for other in runs if other.run_id == run.run_id), None)) is not None:
            raise UserError(f"{out}: is the same run as {twin.address}; name it once")
        if run.config.input.prefix is not None:
            raise UserError(f"{out}: goes on from steps of its input (input.prefix), so it has no whole solutions")
        runs.append(run)
    return runs


def open_run(store: Store, number: int = 0, changes: Sequence[str] = ()) -> Run:
    """One run; UserError as in `open_runs`."""
    config, output = read_config(store, changes), RunDirectory(store)
    output.check_format()
    records = output.records()
    if records.damaged:
        raise UserError(f"{records.damaged[0]}; `stepwave generate` with the same configuration makes it again")
    if not records.good:
        raise UserError(f"{store.path()}: no shard of this run is committed yet; come back later")
    manifest = output.manifest()
    described = manifest or output.run() or {}
    return Run(number, config, output, records.good, manifest, described.get("shards"))


def read_config(store: Store, changes: Sequence[str] = ()) -> Config:
    """The configuration of the run with this output, with `changes`. UserError where there is none, and where they name
    another PRM than the one whose rewards it holds."""
    name = store.path()
    if (other := told_of(store)) is not None:
        raise UserError(other)
    content = store.read_or_none("config.yaml")
    if content is None:
        there = "holds files, but not those of a run" if store.keys("") else "there is nothing here"
        raise UserError(f"{name}: {there}; name the output of a run")
    text = content.decode("utf-8", "replace")
    config = parse_config(text, [], store.path("config.yaml"))
    if not changes:
        return config
    changed = parse_config(text, list(changes), store.path("config.yaml"))
    _check_same_prm(config, changed, name)
    return changed


def _check_same_prm(ran: Config, changed: Config, name: str) -> None:
    """UserError where rewards would be of two PRMs, which do not compare."""
    if "prm" not in ran.decoding.roles:
        return
    if found := [one for one in differences(ran, changed) if one.startswith(OF_PRM)]:
        raise UserError(f"{name}: its rewards are of another PRM ({'; '.join(found[:3])}); leave that out of --set")


def read(run: Run, more_of_solutions: Sequence[str] = (), more_of_steps: Sequence[str] = ()) -> Iterator[Shard]:
    """A run's committed shards in order, the next one already on its way. UserError where a table cannot be read.

    `more_of_...`: columns to be read beside SOLUTION_COLUMNS and STEP_COLUMNS.
    """

    def shard(number: int) -> Shard:
        tables = run.records[number]["tables"]
        solutions = _table(run, tables["solutions"]["key"], [*SOLUTION_COLUMNS, *more_of_solutions], SOLUTIONS)
        steps = _table(run, tables["steps"]["key"], [*STEP_COLUMNS, *more_of_steps], STEPS)
        return Shard(run, number, solutions, steps)

    numbers = sorted(run.records)
    with ThreadPoolExecutor(1) as pool:
        coming = deque([pool.submit(shard, numbers[0])])
        for later in (*numbers[1:], None):
            found = coming.popleft().result()
            if later is not None:
                coming.append(pool.submit(shard, later))
            yield found


def read_solutions(run: Run, columns: list[str]) -> Iterator[pl.DataFrame]:
    """These columns of a run's committed solutions, shard by shard."""
    for _, record in sorted(run.records.items()):
        yield _table(run, record["tables"]["solutions"]["key"], columns, SOLUTIONS)


def _table(run: Run, key: str, wanted: list[str], schema: pa.Schema) -> pl.DataFrame:
    try:
        file = pq.ParquetFile(io.BytesIO(run.output.store.read(key)))
        table = file.read([name for name in wanted if name in file.schema_arrow.names], use_threads=False)
    except (FileNotFoundError, pa.ArrowException, OSError) as error:
        raise UserError(f"{run.output.store.path(key)}: cannot be read ({error}); run it again") from error
    for name in wanted:  # those of an older release have fewer columns
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
    return pl.DataFrame(table.select(wanted))
