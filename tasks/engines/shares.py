"""What a role's engine needs of a machine, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Share:
    """What one role's engine gets."""

    device: str
    weights: int
    """Bytes of weights on each device."""
    cache: int | None
    """Bytes of key-value cache on each device, of the smallest replica; None where the config's own arguments
    decide."""
    tokens: int | None
    """Tokens that the caches of all replicas hold together."""
    arguments: dict[str, Any]
    """Engine arguments that bring it about."""
    replicas: tuple[dict[str, Any], ...] = ({},)
    """Those in which replicas differ."""
    turns: str | None = None
    """Roles with the same name here take turns on their devices."""
    swap_seconds: float | None = None
    """Estimated time of going to sleep, and again of waking up; None where not known."""
    asleep: int | None = None
    """Bytes of the host's memory that its weights take while it sleeps; None where not known."""


@dataclass(frozen=True)
class Need:
    """A role that is to be placed on GPUs."""

    role: str
    replicas: list[list[int]]
    """The GPUs of each."""
    copies: int
    """Times that the weights are loaded: replicas x data parallel. They hold the trajectories between them."""
    weights: int
    """Bytes on each GPU."""
    per_token: int
    """Bytes of cache of a token, on each GPU of a copy."""
    window: int
    length: int
    """Tokens of a trajectory of full length."""
    own: dict[str, Any] = field(default_factory=dict)
    """Memory arguments of the config's own."""

    @property
    def gpus(self) -> set[int]:
        """The GPUs of all replicas, by number."""
        return {gpu for replica in self.replicas for gpu in replica}

    def on(self, gpu: int) -> int:
        """Number of its engines on a GPU: one, or more if there are fewer GPUs than replicas."""
        return sum(gpu in replica for replica in self.replicas)
