"""How many trajectories are in flight: enough to saturate the engines, as far as their caches hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.config import Config, EngineConfig

MOST = 1024
"""Requests in flight that keep three engines busy: a batch of 256 for each, and as many on their way."""
MOST_ON_CPU = 512
MOST_IN_TURNS = 4096
"""Where models take turns: a turn must be worth the swap."""
PROMPT = 512
"""Tokens that a prompt is taken to have before it is read."""


@dataclass(frozen=True)
class Flight:
    """What a run has under way at once."""

    trajectories: int
    """In flight at most."""
    by_tokens: bool
    """Is a trajectory admitted only where it is expected to fit the caches? The config's own number is not
    questioned."""
    binds: str | None
    """Role whose caches hold the fewest trajectories; None where no cache is known."""
    room: int | None
    """Tokens that they hold."""
    at_full_length: int | None
    """Trajectories that fit them whatever their lengths."""
    length: int | None
    """Full length: tokens of prompt and longest solution, as that role reads it."""
    because: str
    """What decides how many are in flight at most."""


def full_length(config: Config, window: int) -> int:
    """Tokens of the longest solution: max_tokens, or what the window has room for."""
    return min(window, config.decoding.max_tokens + PROMPT)


def width(config: Config) -> int:
    """Requests that a trajectory has at an engine at once."""
    return config.decoding.proposals * config.decoding.paths


def most_trajectories(config: Config, *, cpu: bool = False) -> int:
    """Most trajectories in flight if all models are awake: the configuration's number, else what saturates the
    engines."""
    if config.run.in_flight is not None:
        return config.run.in_flight
    return max((MOST_ON_CPU if cpu else MOST) * copies(config) // width(config), 1)


def most_requests(config: Config, *, cpu: bool = False) -> int:
    """At an engine at once."""
    return most_trajectories(config, cpu=cpu) * width(config)


def copies(config: Config) -> int:
    """Engines of the role that has most of them, each of which wants a batch: replicas, their ranks, or servers."""

    def of(engine: EngineConfig) -> int:
        ranks = engine.arguments.get("data_parallel_size", 1)
        servers = engine.arguments.get("endpoints") if engine.record.remote else None
        return engine.replicas * (ranks if isinstance(ranks, int) else 1) * len(servers or [""])

    return max(of(config.model(role).engine) for role in config.roles)


def plan_flight(
    config: Config, tokens: Mapping[str, int], windows: Mapping[str, int], total: int, *, turns: bool, cpu: bool
) -> Flight:
    """`tokens`: role to what its caches hold, where that is known. `total`: trajectories that the run has. `turns`: do
    models take turns on a device?"""
    run = config.run
    paths, each = config.decoding.paths, width(config)
    fits = {role: held // (full_length(config, windows[role]) * paths) for role, held in tokens.items()}
    binds = min(fits, key=lambda role: fits[role], default=None)
    most = max(MOST_IN_TURNS // each, 1) if turns else most_trajectories(config, cpu=cpu)
    if run.in_flight is not None:
        most, because = run.in_flight, "as run.in_flight says"
    elif total <= most:
        because = "the whole run"
    elif turns:
        because = "so that a turn is worth its swap"
    elif copies(config) > 1:
        because = f"what {copies(config)} engines of a role compute in full batches"
    else:
        because = "what engines compute in full batches"
    return Flight(
        because=because,
        trajectories=max(min(most, total), 1),
        by_tokens=run.in_flight is None and binds is not None,
        binds=binds,
        room=tokens[binds] if binds else None,
        at_full_length=fits[binds] if binds else None,
        length=full_length(config, windows[binds]) * paths if binds else None,
    )
