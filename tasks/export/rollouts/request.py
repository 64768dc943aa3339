"""The request for roll-outs, checked before anything is written; then the choice of steps, made once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from schemas.config import Config
from schemas.rollouts import RolloutOptions
from tasks.configuration.identity import Models, unlike_models
from tasks.errors import UserError
from tasks.export.estimates import RUN, counted
from tasks.export.filters import Filters
from tasks.export.rollouts import directory
from tasks.export.rollouts.choosing import MORE_OF_SOLUTIONS, choose, problem_set
from tasks.export.rollouts.configured import configured, storage_of, writer_of
from tasks.export.rollouts.places import check_places
from tasks.export.runs import SourceRun, open_run, open_runs, read
from tasks.models.model_files import DATE, Parts, parts_of
from tasks.output.sound_rewards import TOLD
from tasks.storage.store import Say, Store
from tasks.storage.stores import Stores


@dataclass(frozen=True)
class RolloutRequest:
    """What one command of roll-outs is to do."""

    out: str
    stores: Stores
    """How `out` is reached."""
    place: Store
    options: RolloutOptions
    config: Config
    """Of the run that writes the roll-outs."""


def read_request(
    out: str, dest: str, options: RolloutOptions, changes: list[str], say: Say | None = None
) -> RolloutRequest:
    """Raises UserError where places, options, changes or the source's configuration do not go together."""
    check_places(out, dest)
    stores = Stores(storage_of(changes), say=say)
    config = configured(stores.store(out), dest, options, changes)
    stores = replace(stores, patience=config.run.store_patience)
    return RolloutRequest(out, stores, Stores.of(config, say).store(dest), options, config)


def choose_steps(request: RolloutRequest) -> dict[str, Any]:
    """Write the problem set, unless an earlier start has; returns rollouts.json. Shards that the source commits after
    the first start are not looked at. Raises UserError if the source has no step to give, or the place holds something
    else."""
    run = _source(request)
    _check_writes_on(run, request.config)
    asked = request.options.given() | {"writer": writer_of(run.config, request.options)}
    record = next(iter(run.records.values()))
    of = {name: record[name] for name in ("run_id", "config_fingerprint")}
    shards = {"taken": sorted(run.records), "of": run.shards, "whole": run.manifest is not None}
    there = directory.begin(request.place, asked, of, shards)
    if there["chosen"] is not None:
        return there
    filters, files = Filters(), []
    seen = dict.fromkeys(("problems", "attempts", "steps"), 0)
    for shard in read(_of(run, there["shards"]["taken"], request), MORE_OF_SOLUTIONS):
        chosen = choose(shard, request.options, filters)
        filters.left_out[TOLD] += shard.unsound
        seen["problems"] += chosen["problem_id"].n_unique()
        seen["attempts"] += len(shard.steps)
        seen["steps"] += len(chosen)
        if len(chosen):
            files.append(directory.steps_key(shard.number))
            # another process may be at work on it already
            request.place.create(files[-1], problem_set(shard, chosen))
    left_out = {reason: count for reason, count in filters.left_out.items() if count}
    if not files:
        request.place.delete([directory.RECORD])
        why = "; ".join(f"{reason}: {count:,}" for reason, count in left_out.items())
        raise UserError(f"{request.out}: of {seen['attempts']:,} attempts there is none to roll out ({why})")
    return directory.keep(request.place, there, {**seen, "left_out": left_out}, files)


def _check_writes_on(run: SourceRun, config: Config) -> None:
    """Raises UserError if a model that is to go on with the run's solutions is not what it was when it wrote them,
    though nobody said that another is to be taken."""
    of = run.config.model_copy(update={"models": config.models})
    same = [role for role in config.roles if role in run.config.roles and of.model(role) == run.config.model(role)]
    day: Parts = {DATE: str(config.prompt.date)} if config.prompt == run.config.prompt else {}
    here: Models = {role: parts_of(config.model(role)) | day for role in same}
    if found := unlike_models(run.output.models(), here):
        raise UserError(
            f"{run.address}: its solutions are of other models ({'; '.join(found)}); put back what wrote them, or say "
            "which ones go on from there (--set models...)"
        )


def _source(request: RolloutRequest) -> SourceRun:
    (run,) = open_runs([request.out], request.stores)
    return run


def _of(run: SourceRun, shards: list[int], request: RolloutRequest) -> SourceRun:
    """A run as it was when only these shards were committed."""
    if not run.records.keys() >= set(shards):  # another process looked at it after us
        run = _source(request)
    if gone := [shard for shard in shards if shard not in run.records]:
        raise UserError(
            f"{request.out}: shard {gone[0]}, from which steps were being chosen, is made again; come back when that "
            "is done, or give another DEST"
        )
    return replace(run, records={shard: run.records[shard] for shard in shards})


def estimates(request: RolloutRequest) -> dict[str, int]:
    """Counts of the roll-outs that are committed: steps of which all, some or none are right."""
    found = dict.fromkeys(("all_right", "some_right", "none_right"), 0)
    for steps in counted(open_run(Stores.of(request.config).store(request.place.path(RUN)))):
        right, graded = steps["right"], steps["graded"]
        found["all_right"] += int((right == graded).sum())
        found["none_right"] += int((right == 0).sum())
        found["some_right"] += int(((right > 0) & (right < graded)).sum())
    return found
