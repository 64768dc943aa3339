"""What was computed, counted in tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    """What one role computed."""

    requests: int = 0
    generated: int = 0
    """Tokens written; 0 for a PRM."""
    prefilled: int = 0
    """Tokens of prompts that were computed."""
    cached: int = 0
    """Tokens of prompts served from the engine's cache."""

    def add(self, prompt: int, cached: int, generated: int) -> None:
        """Count one request: tokens of its prompt, those of them that were cached, and tokens generated."""
        self.requests += 1
        self.generated += generated
        self.prefilled += prompt - cached
        self.cached += cached

    def minus(self, before: Usage) -> Usage:
        """What was counted since."""
        return Usage(
            self.requests - before.requests,
            self.generated - before.generated,
            self.prefilled - before.prefilled,
            self.cached - before.cached,
        )

    def merge(self, more: Usage) -> None:
        """Add what another usage counted."""
        self.requests += more.requests
        self.generated += more.generated
        self.prefilled += more.prefilled
        self.cached += more.cached
