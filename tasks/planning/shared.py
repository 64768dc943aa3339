"""Runs that share engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from schemas.config import ALL_ROLES, Config
from schemas.methods import Role
from tasks.decoding.requests import Confidence
from tasks.engines.concurrency import most_trajectories, width
from tasks.planning.plan import Plan
from tasks.planning.roles import RolePlan, placed


class SharedEnginesConfig(Config):
    """Several runs that share engines, as one configuration with the roles of all."""

    all_roles: tuple[Role, ...]
    confidence_over: Confidence | None

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of all the runs."""
        return self.all_roles

    @property
    def confidence(self) -> Confidence | None:
        """How writers' confidence is the reward in one of the runs; None if it is in none."""
        return self.confidence_over


def share_engines(plans: list[Plan]) -> list[Plan]:
    """The plans of runs of the same models, with engines that serve all of them: placed beside one another, whichever
    run uses them, with room for the longest solutions. All guess with the same draft, or none. Those that ask no PRM
    may have another in their configuration."""
    configs = [plan.config for plan in plans]
    roomiest = max(configs, key=lambda config: (most_trajectories(config) * config.decoding.paths, width(config)))
    most_tokens = max(config.decoding.max_tokens for config in configs)
    looked = {role: (of.checkpoint, of.vocabulary) for plan in plans for role, of in plan.roles.items()}
    in_order = tuple(role for role in ALL_ROLES if role in looked)
    decoding = roomiest.decoding.model_copy(update={"max_tokens": most_tokens})
    over = next((config.confidence for config in configs if config.confidence), None)
    models = next((config.models for config in configs if "prm" in config.roles), roomiest.models)
    config = SharedEnginesConfig.model_construct(
        **{**dict(roomiest), "models": models, "decoding": decoding, "all_roles": in_order, "confidence_over": over}
    )
    prm_format = next((plan.format for plan in plans if plan.format), None)
    longest = {role: max(plan.roles[role].engine.window for plan in plans if role in plan.roles) for role in in_order}
    shared = placed(config, {role: looked[role] for role in in_order}, longest, prm_format, plans[0].proposer)
    return [replace(plan, roles=_of_run(shared, plan.roles)) for plan in plans]


def _of_run(shared: Mapping[str, RolePlan], roles: Iterable[str]) -> dict[str, RolePlan]:
    """A run's roles, with the engines of all. If the PRM is in the engine of a writer that the run does not ask, the
    PRM has the engine's memory to itself."""
    found = {role: shared[role] for role in roles}
    return {
        role: of if of.engine.role in found else replace(of, share=shared[of.engine.role].share)
        for role, of in found.items()
    }
