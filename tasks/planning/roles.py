"""Roles of a run, each with its model, and its engine placed on the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.config import Config
from schemas.methods import Role
from tasks.engines.arguments import vllm_arguments, vllm_environment
from tasks.engines.emulated.shares import emulated_shares
from tasks.engines.memory import share
from tasks.engines.shares import Share
from tasks.engines.spec import EngineSpec, Scoring
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.format import Format
from tasks.models.model_files import COMMIT
from tasks.models.tokenizer import ModelVocabulary
from tasks.planning.speculation import Proposer
from tasks.planning.windows import Looked


@dataclass(frozen=True)
class RolePlan:
    """What one role of a run is."""

    checkpoint: Checkpoint
    vocabulary: ModelVocabulary = field(repr=False)
    params: float
    """Parameters, for FLOPs."""
    engine: EngineSpec
    """That of another role where the two are the same model: see its `role`."""
    share: Share | None
    """Memory of its engine, where that has devices; None where another role of the plan has it."""


def engines_of(roles: Mapping[str, RolePlan]) -> list[EngineSpec]:
    """Each engine once. An engine may serve two roles, or only a role whose name it does not have."""
    return list({plan.engine.role: plan.engine for plan in roles.values()}.values())


def placed(
    config: Config,
    looked: Looked,
    windows: Mapping[Role, int],
    prm_format: Format | None,
    proposer: Proposer | None,
    here: bool = True,
) -> dict[str, RolePlan]:
    """Each role with its engine, all of them on the machine together if they are to run `here`."""
    checkpoints: dict[str, Checkpoint] = {role: checkpoint for role, (checkpoint, _) in looked.items()}
    if proposer:
        target, vocabulary = looked["target"]
        proposer.check_fits(target, windows["target"], vocabulary)
        held = {"target": target.with_another(proposer.checkpoint)}
    else:
        held = checkpoints
    shares = share(config, held, windows) | emulated_shares(config, held, windows) if here else {}
    roles: dict[str, RolePlan] = {}
    for role in sorted(looked, key=lambda role: config.host(role) != role):  # after those whose engines serve them
        checkpoint, vocabulary = looked[role]
        model, host = config.model(role), config.host(role)
        if host != role:
            params = model.params or float(checkpoint.active)
            roles[role] = RolePlan(checkpoint, vocabulary, params, roles[host].engine, None)
            continue
        scoring = _scoring(prm_format, role) if prm_format and role == config.host("prm") else None
        environment: dict[str, str] = {}
        if model.engine.record.placed and role in shares:
            of_method = scoring.arguments if scoring else {}
            if proposer:
                of_method = proposer.engine_arguments(config, checkpoints["target"])
            if commit := checkpoint.parts.get(COMMIT):  # of a hub id: what was looked at is what is loaded
                of_method = of_method | {"revision": commit, "tokenizer_revision": commit}
            arguments = vllm_arguments(role, config, windows[role], shares[role], of_method)
            environment = vllm_environment(config)
            replicas, turns = shares[role].replicas, shares[role].turns
        elif role in shares:
            arguments = model.engine.arguments | shares[role].arguments
            replicas, turns = shares[role].replicas, shares[role].turns
        else:
            arguments, replicas = model.engine.arguments, ({},) * model.engine.replicas
            turns = "scripted" if config.run.sharing == "turns" and model.engine.record.plays else None
        proposes = config.decoding.speculative_tokens if proposer else 0
        kind, window = model.engine.kind, windows[role]
        asks = config.confidence is not None
        loads = {model.model: checkpoint.parts} | ({proposer.model: proposer.checkpoint.parts} if proposer else {})
        spec = EngineSpec(
            role, model.model, kind, window, arguments, environment, replicas, turns, proposes, scoring, asks, loads
        )
        params = model.params or float(arguments.get("parameters", checkpoint.active))
        roles[role] = RolePlan(checkpoint, vocabulary, params, spec, shares.get(role))
    return {role: roles[role] for role in looked}


def _scoring(prm_format: Format, host: Role) -> Scoring:
    """How the engine of `host` makes the PRM's rewards."""
    if host == "prm":
        return Scoring(prm_format.class_values, prm_format.engine_arguments())
    return Scoring(prm_format.class_values, {}, prm_format.tokens)
