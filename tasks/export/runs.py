"""The runs that a dataset is made of, read a committed shard at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any

import polars as pl

from schemas.config import Config
from schemas.credentials import shown_key
from schemas.prm_formats import settings_of_formats
from tasks.configuration.day import on_day
from tasks.configuration.identity import OF_PRM, differences, unlike_models
from tasks.configuration.parsing import parse_config
from tasks.errors import StoreError, UserError
from tasks.models.chat import today
from tasks.models.model_files import DATE, WEIGHTS, Parts, parts_of
from tasks.output.directory import RunDirectory, shard_key
from tasks.output.kinds import why_no_run
from tasks.output.reading import committed_tables
from tasks.planning.threshold import decided
from tasks.storage.store import Store
from tasks.storage.stores import Stores

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
    "finish",
    "wave",
]

OF_WRITERS = ("models.draft.", "models.target.")
"""Begin the keys of the models that a PRM can be the same as."""
READER = tuple(f"{OF_PRM}{name}:" for name in ("format", *settings_of_formats()))
"""Begin the differences by which a PRM is another reader of steps."""


@dataclass(frozen=True)
class SourceRun:
    """A run that an export reads."""

    number: int
    """Place among the runs that were named."""
    config: Config
    output: RunDirectory
    records: dict[int, dict[str, Any]]
    """Of the shards that are committed."""
    manifest: dict[str, Any] | None
    shards: int | None
    """That it is to have, where that is known."""
    asked_before: str | None = None
    """The model whose rewards the run recorded, where the configuration names another now, and whether that is the same
    one, moved, cannot be told."""

    @property
    def address(self) -> str:
        """Path or address of its output, for messages."""
        return self.output.store.path()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(next(iter(self.records.values()))["run_id"])

    @cached_property
    def reward_keys(self) -> frozenset[str]:
        """Keys of the rewards that were asked for after it, as they are when first looked for. What is not there is
        not read for: with the error of that, tenacity holds on to the frames that asked, and what they have of a shard.
        """
        try:
            return frozenset(self.output.store.keys("rewards"))
        except (UserError, StoreError, OSError):
            return frozenset()

    @cached_property
    def prm_parts(self) -> Parts:
        """The parts of its PRM, with the day that its prompts are of. No tokenizer is loaded for it."""
        return parts_of(self.config.model("prm")) | {DATE: str(self.config.prompt.date)}

    @cached_property
    def prm_recorded(self) -> Parts:
        """The parts of the PRM that the run asked, as it says; {} if it asked none, or does not say."""
        return self.output.models().get("prm", {})

    def check_prm(self, parts: Parts) -> None:
        """Raises UserError if the run asked another PRM than this, whose rewards do not compare with those recorded."""
        found = unlike_models({"prm": self.prm_recorded}, {"prm": parts}) if self.prm_recorded else []
        if found:
            raise UserError(f"its rewards are of another PRM ({'; '.join(found)}); put back the one that it asked")

    @property
    def silent(self) -> str | None:
        """Why its PRM cannot be asked about its steps any more; None if it can."""
        prm = self.config.models.prm
        if prm is None:
            return "the configuration names no PRM (--set models.prm.model and models.prm.format do)"
        if not prm.record.asks_model:
            return "rewards are the writers' own confidence, which cannot be asked for later"
        if prm.same_as is not None and getattr(self.config.models, prm.same_as) is None:
            return f"models.prm.same_as: there is no models.{prm.same_as}"
        return None

    @property
    def threshold(self) -> float | None:
        """δ where the method has one that was decided."""
        return decided(self.config, self.manifest)


@dataclass(frozen=True)
class SourceShard:
    """The tables of a committed shard."""

    run: SourceRun
    number: int
    solutions: pl.DataFrame
    """SOLUTION_COLUMNS."""
    steps: pl.DataFrame
    """STEP_COLUMNS."""
    unsound: int = 0
    """Attempts whose reward was none, and is null here: see tasks/output/sound_rewards.py."""


def open_runs(outs: list[str], stores: Stores, changes: Sequence[str] = ()) -> list[SourceRun]:
    """The runs with these outputs, `changes` made to the configuration of each that they concern. Raises UserError if
    one is none, is damaged, or has no shard committed yet, and if its PRM would read steps otherwise than it has."""
    runs: list[SourceRun] = []
    for number, out in enumerate(outs):
        run = open_run(stores.store(out), number, changes)
        if (twin := next((other for other in runs if other.run_id == run.run_id), None)) is not None:
            raise UserError(f"{out}: is the same run as {twin.address}; name it once")
        if run.config.input.prefix is not None:
            raise UserError(f"{out}: goes on from steps of its input (input.prefix), so it has no whole solutions")
        runs.append(run)
    for key in (_key(change) for change in changes if change.startswith(tuple(OF_WRITERS))):
        role = key.split(".")[1]
        if not any(run.config.models.prm and run.config.models.prm.same_as == role for run in runs):
            raise UserError(f"--set {shown_key(key.split('.'))}: no run's PRM is its {role} (same_as); leave that out")
    return runs


def open_run(store: Store, number: int = 0, changes: Sequence[str] = ()) -> SourceRun:
    """One run; raises UserError as in `open_runs`."""
    ran, output = read_config(store), RunDirectory(store)
    output.check_format()
    records = output.records()
    if records.damaged:
        raise UserError(f"{records.damaged[0]}; `stepwave generate` with the same configuration makes it again")
    if not records.good:
        raise UserError(f"{store.path()}: no shard of this run is committed yet; come back later")
    for shard, record in sorted(records.good.items()):
        if lacking := {"solutions", "steps"} - record["tables"].keys():
            raise UserError(f"{store.path(shard_key(shard))}: names no table of {min(lacking)}; run it again")
    output.check_whole(records)
    manifest = output.manifest()
    described = manifest or output.run() or {}
    config = read_config(store, mine) if (mine := _concerning(ran, changes)) else ran
    config = on_day(config, _day_of(manifest))
    _check_same_reader(ran, config, store.path())
    run = SourceRun(number, config, output, records.good, manifest, described.get("shards"))
    before = config.models.prm and "prm" in ran.roles and ran.model("prm").model
    if not before or before == config.model("prm").model:
        return run
    try:
        run.check_prm(run.prm_parts)
    except UserError as error:
        raise UserError(f"{run.address}: {error}") from error
    return run if WEIGHTS in run.prm_recorded and WEIGHTS in run.prm_parts else replace(run, asked_before=before)


def _day_of(manifest: dict[str, Any] | None) -> date:
    """The day that prompts are made for, where a run of an older release did not keep it."""
    at = (manifest or {}).get("finished_at")
    return today() if at is None else datetime.fromisoformat(at).date()


def read_config(store: Store, changes: Sequence[str] = ()) -> Config:
    """The configuration of the run with this output, with `changes`. Raises UserError if there is none."""
    name = store.path()
    if (other := why_no_run(store)) is not None:
        raise UserError(other)
    content = store.read_or_none("config.yaml")
    if content is None:
        there = "holds files, but not those of a run" if store.keys("") else "there is nothing here"
        raise UserError(f"{name}: {there}; name the output of a run")
    return parse_config(content.decode("utf-8", "replace"), list(changes), store.path("config.yaml"))


def _concerning(ran: Config, changes: Sequence[str]) -> list[str]:
    """The changes that say how a run's PRM is served. One without a PRM has those of models.prm only where they name a
    model; those of a writer are for runs whose PRM is that writer."""
    of_prm = {_key(change): change.partition("=")[2].strip() for change in changes}
    named = not {f"{OF_PRM}model", f"{OF_PRM}same_as"}.isdisjoint(of_prm)
    same_as = of_prm.get(f"{OF_PRM}same_as", ran.models.prm.same_as if ran.models.prm else None)

    def concerns(key: str) -> bool:
        if key.startswith(OF_PRM):
            return ran.models.prm is not None or named
        return not key.startswith(tuple(OF_WRITERS)) or key.split(".")[1] == same_as

    return [change for change in changes if concerns(_key(change))]


def _key(change: str) -> str:
    return change.partition("=")[0].strip()


def _check_same_reader(ran: Config, changed: Config, name: str) -> None:
    """Raises UserError if the PRM would read steps in another way, whose rewards do not compare with those recorded.
    Where its model lies, and how it is served, is the user's to say."""
    if "prm" not in ran.decoding.roles:
        return
    found = [one for one in differences(ran, changed) if one.startswith(READER)]
    of = [config.models.prm.same_as if config.models.prm else None for config in (ran, changed)]
    if not found and of[0] != of[1] and ran.model("prm").model != changed.model("prm").model:
        found = [f"{OF_PRM}same_as: {of[0]} there, {of[1]} here"]
    if found:
        raise UserError(f"{name}: its rewards are of another PRM ({'; '.join(found[:3])}); leave that out of --set")


def read(run: SourceRun, more_of_solutions: Sequence[str] = ()) -> Iterator[SourceShard]:
    """A run's committed shards in order, the next one already on its way. Raises UserError where a table cannot be
    read.

    `more_of_solutions`: columns to be read beside SOLUTION_COLUMNS.
    """

    columns = {"solutions": [*SOLUTION_COLUMNS, *more_of_solutions], "steps": STEP_COLUMNS}
    for number, (solutions, steps) in committed_tables(run.output, run.records, columns):
        yield SourceShard(run, number, pl.DataFrame(solutions.table), pl.DataFrame(steps.table), steps.unsound)


def read_solutions(run: SourceRun, columns: list[str]) -> Iterator[pl.DataFrame]:
    """These columns of a run's committed solutions, shard by shard."""
    for _, (solutions,) in committed_tables(run.output, run.records, {"solutions": columns}):
        yield pl.DataFrame(solutions.table)
