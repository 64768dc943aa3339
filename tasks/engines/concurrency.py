"""How many trajectories are in flight: enough to saturate the engines, as far as their caches hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.config import Config, EngineConfig

SATURATED = 256
"""Trajectories in a batch; a larger batch makes an engine hardly faster."""
SEVERAL = 4
"""Cohorts that keep three engines busy: one drafts, one is scored, one is at the target, one fills the gaps."""
FEWEST = 16
"""Trajectories below which a cohort is not made smaller."""
LARGEST = 1024
"""Trajectories of a cohort where models take turns: a wave must be worth the swap."""
MOST = SATURATED * SEVERAL
MOST_ON_CPU = 512
MOST_IN_TURNS = 4 * LARGEST
PROMPT = 512
"""Tokens that a prompt is taken to have before it is read."""


@dataclass(frozen=True)
class Flight:
    """What a run has under way at once."""

    cohort_size: int
    cohorts: int
    """At most."""
    by_tokens: bool
    """Is a cohort admitted only where it is expected to fit the caches? The config's own number of cohorts is not
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

    @property
    def trajectories(self) -> int:
        """In flight at most."""
        return self.cohort_size * self.cohorts


def full_length(config: Config, window: int) -> int:
    """Tokens of the longest solution: max_tokens, or what the window has room for."""
    return min(window, config.decoding.max_tokens + PROMPT)


def width(config: Config) -> int:
    """Requests that a trajectory has at an engine at once."""
    return config.decoding.proposals * config.decoding.paths


def most_trajectories(config: Config, *, cpu: bool = False) -> int:
    """Most trajectories in flight if all models are awake: the configuration's number, else what saturates the
    engines."""
    run, each = config.run, width(config)
    usual = MOST_ON_CPU if cpu else MOST
    if run.cohorts is None:
        return max(usual * copies(config) // each, run.cohort_size or 1)
    return run.cohorts * (run.cohort_size or max(SATURATED // each, 1))


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
    fit = fits[binds] if binds else None
    shard = min(run.shard_size * config.decoding.samples, total)
    size = run.cohort_size or _cohort_size(fit, shard, total, turns, each)
    most = MOST_IN_TURNS // each if turns else most_trajectories(config, cpu=cpu)
    if run.cohorts is not None:
        because = "as run.cohorts says"
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
        cohort_size=size,
        cohorts=run.cohorts or max(min(most // size, -(-total // size)), 1),
        by_tokens=run.cohorts is None and binds is not None,
        binds=binds,
        room=tokens[binds] if binds else None,
        at_full_length=fit,
        length=full_length(config, windows[binds]) * paths if binds else None,
    )


def _cohort_size(fit: int | None, shard: int, total: int, turns: bool, each: int) -> int:
    """Trajectories of a cohort. `shard`: those of a shard, which is cut into cohorts of about the same size. `each`:
    requests of one trajectory, which are what fills a batch."""
    fit, total = None if fit is None else fit * each, total * each
    if turns:  # what one role cached is gone when its next turn comes: a batch beyond the cache only queues
        size = min(max(fit or 0, SATURATED), LARGEST)
    else:
        size = min(SATURATED, max(SATURATED if fit is None else fit // SEVERAL, FEWEST))
        size = min(size, max(-(-total // SEVERAL), FEWEST))
    parts = max(round(shard / max(size // each, 1)), 1)
    return max(-(-shard // parts), 1)
