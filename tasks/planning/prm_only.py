"""A run's PRM by itself, to be asked about what the run has written: who it is, and how it is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.config import Config
from tasks.decoding.models import Models, RewardModel
from tasks.decoding.rewards import Trial
from tasks.decoding.trajectory import Limits
from tasks.errors import UserError
from tasks.models.formats.format import Format
from tasks.planning.plan import Seen, check_engine_arguments, plan_roles
from tasks.planning.roles import RolePlan
from tasks.planning.shared import SharedEnginesConfig


@dataclass(frozen=True)
class PrmPlan:
    """What is known of a PRM that is asked without a run, before weights are loaded."""

    roles: dict[str, RolePlan]
    """`prm`, and the writer in whose engine it is, where it is in one."""
    format: Format
    limits: Limits

    @property
    def room(self) -> int | None:
        """Tokens that the engine's caches hold; None where that is not known."""
        return next((of.share.tokens for of in self.roles.values() if of.share), None)

    def models(self, engines: Mapping[str, Any], trial: Trial) -> Models:
        """For `Models.score`, of engines by their own roles."""
        of_prm = self.roles["prm"]
        prm = RewardModel(engines[of_prm.engine.role], self.format, of_prm.checkpoint.name)
        return Models(writers={}, prm=prm, limits=self.limits, seed=0, trial=trial)


def plan_prm(config: Config, seen: Seen | None = None) -> PrmPlan:
    """Raises UserError where the model or its engine's arguments do not do. `seen`: by plans with the same prompt."""
    alone = _alone(config)
    check_engine_arguments(alone)
    roles, prm_format = plan_roles(alone, seen)
    assert prm_format is not None
    windows = {"prm": roles["prm"].engine.window - 1}  # its prompt must leave vLLM a token to spare
    limits = Limits(config.decoding.max_steps, config.decoding.max_tokens, windows, prm_format.tag_tokens)
    return PrmPlan(roles, prm_format, limits)


def _alone(config: Config) -> SharedEnginesConfig:
    """What a run is planned by that only asks its PRM."""
    prm = config.models.prm
    assert prm is not None
    if prm.same_as is not None and getattr(config.models, prm.same_as) is None:
        raise UserError(f"models.prm.same_as: there is no models.{prm.same_as}")
    host = config.host("prm")
    all_roles = ("prm",) if host == "prm" else (host, "prm")
    run = config.run.model_copy(update={"sharing": "resident"})  # there is nobody to take turns with
    return SharedEnginesConfig.model_construct(
        **{**dict(config), "run": run, "all_roles": all_roles, "confidence_over": None}
    )
