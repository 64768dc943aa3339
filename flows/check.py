"""What a run would do, said without loading weights."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import asdict
from typing import Any

from flows.terminal.check_report import lines, prompts_of, size_of
from schemas.config import Config, DriftConfig
from schemas.engine_kinds import ENGINE_KINDS
from schemas.evaluation import EvaluationConfig
from tasks.engines.devices import planned
from tasks.engines.endpoint_pool import visit
from tasks.engines.opinion import check_arguments
from tasks.errors import UserError
from tasks.output import onlookers
from tasks.output.directory import RunDirectory
from tasks.planning import skip_done
from tasks.planning.cautions import cautions
from tasks.planning.plan import Plan, make_plan
from tasks.planning.prompts_shown import shown
from tasks.planning.windows import most
from tasks.problems.references import look_over
from tasks.storage.stores import WAITED_FOR, Stores

__all__ = ["check", "check_show", "engines_of", "lines", "output_can_be_written", "prompts_of", "size_of"]


def check(config: Config, gpus: list[int] | None = None, show: int | None = None) -> dict[str, Any]:
    """A report for `lines`, or a UserError that names the mistake. `gpus`: plan for a machine that has GPUs of so many
    bytes (None: this machine). `show`: with the prompts of so many problems."""
    check_show(show)
    with planned(gpus):
        return _checked(config, gpus, show)


def check_show(show: int | None) -> None:
    """Raises UserError where `show`, a number of problems, is below 1."""
    if show is not None and show < 1:
        raise UserError("--show: a number of problems, such as 2")


def _checked(config: Config, gpus: list[int] | None, show: int | None) -> dict[str, Any]:
    output = RunDirectory(Stores.of(config).store(config.output.path))
    output.check_same(config)
    day = config.prompt.date
    config = output.dated(config)
    output_can_be_written(config)
    plan, skipped = skip_done.foresee(make_plan(config), output)
    output.check_same(config, plan.survey.fingerprint, plan.models)
    records, manifest = output.records(), output.manifest()
    output.check_whole(records, plan.models)
    warnings = cautions(plan)
    if day is not None and plan.day is None:
        warnings.append(f"prompt.date: {day}: no prompt of the run shows a date, so this changes nothing")
    endpoints = asyncio.run(_endpoints(plan))
    if gpus is None:
        check_arguments(plan.engines, {role: set(config.model(role).engine.arguments) for role in config.engine_roles})
    prompts = {} if show is None else {"shown": shown(plan, Stores(config.storage, WAITED_FOR), show)}
    return {
        "warnings": warnings,
        "method": config.decoding.method,
        "auto_for": getattr(config.decoding.accept, "target_share", None),
        "input": config.input.path,
        "prefix": config.input.prefix,
        "files": len(plan.survey.files),
        "folders": sorted({name for file in plan.survey.files for name in file.folders}),
        "rows": plan.survey.rows,
        "problems": plan.survey.usable,
        "samples": config.decoding.samples,
        "rejected": plan.survey.rejected(),
        "skipped": None if skipped is None else {"problems": skipped.problems, "told": skip_done.describe(skipped)},
        "references": asdict(look_over(plan.survey, Stores.of(config))),
        "day": plan.day,
        "models": {role: of | {"endpoints": endpoints.get(role)} for role, of in engines_of(plan).items()},
        "in_flight": {"trajectories": plan.flight.trajectories, **asdict(plan.flight)},
        "confidence": config.confidence,
        "drift": _drift(config),
        "proposer": _proposer(plan),
        "shared_vocabulary": plan.shared_vocabulary(),
        "output": config.output.path,
        "shards": plan.shards,
        "shards_done": len(records.good),
        "damaged": records.damaged,
        "words": output.notes(),
        "complete": manifest is not None and len(records.good) == plan.shards,
        "held_by": sorted({str(seen.owner) for seen in onlookers.holders(output.store).values()}),
    } | prompts


def engines_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Role to its model and its engine's part of the machine."""
    return {
        role: {
            "model": of_role.checkpoint.name,
            "engine": of_role.engine.kind,
            "served_by": of_role.engine.role,
            "params": of_role.params,
            "window": of_role.engine.window,
            "positions": most(plan.config.host(role), plan.config, of_role.checkpoint),
            "device": of_role.share.device if of_role.share else None,
            "device_ids_given": "device_ids" in of_role.engine.arguments,
            "replicas": [arguments.get("device_ids") for arguments in of_role.engine.replicas],
            "turns": of_role.engine.turns if of_role.engine.role == role else None,
            "swap_seconds": of_role.share.swap_seconds if of_role.share else None,
            "asleep_bytes": of_role.share.asleep if of_role.share else None,
            "weight_bytes": of_role.share.weights if of_role.share else of_role.checkpoint.weights.size,
            "cache_bytes": of_role.share.cache if of_role.share else None,
            "cache_tokens": of_role.share.tokens if of_role.share else None,
        }
        for role in plan.config.roles
        for of_role in [plan.roles[role]]
    }


def _drift(config: Config) -> dict[str, Any] | None:
    """The bands that the run is watched for. A run that finds its threshold has bands of its own."""
    if config.drift is None and not config.decoding.auto:
        return None
    return (config.drift or DriftConfig()).model_dump(mode="json")


def _proposer(plan: Plan) -> dict[str, Any] | None:
    """The draft that the target's engine loads beside it."""
    if plan.proposer is None:
        return None
    draft = plan.proposer
    return {
        "model": draft.checkpoint.name,
        "params": draft.params,
        "weight_bytes": draft.checkpoint.weights.size,
        "tokens": plan.config.decoding.speculative_tokens,
    }


async def _endpoints(plan: Plan) -> dict[str, dict[str, str]]:
    """Roles that are served on other machines, with the state of each endpoint."""
    return {
        role: await visit(of_role.engine, of_role.vocabulary)
        for role, of_role in plan.roles.items()
        if ENGINE_KINDS[of_role.engine.kind].remote and of_role.engine.role == role
    }


def output_can_be_written(config: Config | EvaluationConfig) -> None:
    """Raises UserError if the output cannot be written. In a bucket an object is written and deleted, which is the only
    sure test. Local folders are not made."""
    path = config.output.path
    store = Stores(config.storage, WAITED_FOR).store(path)
    if not store.local:
        probe = f"checkpoints/check-{secrets.token_hex(6)}.json"
        store.write(probe, b"{}")
        store.delete([probe])
        return
    at = path
    while not os.path.lexists(at):
        at = os.path.dirname(at)
    if not os.path.isdir(at):
        raise UserError(f"output.path: {path}: {at} is not a directory")
    if not os.access(at, os.W_OK | os.X_OK):
        raise UserError(f"output.path: {path}: no permission to write in {at}")
