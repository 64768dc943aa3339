"""What an engine is asked to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EngineSpec:
    """One role's engine."""

    role: str
    model: str
    kind: str
    window: int
    """Longest prompt and answer together, in tokens."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """The engine's own arguments, complete."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables of its processes."""


@dataclass(frozen=True)
class Sampling:
    """How every step is written."""

    temperature: float
    top_p: float
    separator: str
