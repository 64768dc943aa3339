"""What an engine is asked to be, and what it promises."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tasks.decoding.requests import Answer, Answered, Request, unheard
from tasks.decoding.rewards import ROUNDING
from tasks.decoding.trajectory import Failure
from tasks.models.formats.confidence import LEAST

OFF = 0.01
"""How far from 1 the sum of a model's probabilities may be, in whatever dtype its head has."""


@dataclass(frozen=True)
class Scoring:
    """How a PRM's engine makes a reward."""

    class_values: tuple[float, ...]
    """The reward of each of the model's classes."""
    arguments: dict[str, Any]
    """vLLM arguments with which it gives their probabilities, where it does nothing else."""
    tokens: tuple[int, ...] | None = None
    """If the model writes as well: the tokens that are the classes. Their probabilities are those of the next token."""

    def reward(self, probabilities: Sequence[float]) -> float:
        """The reward: the classes' mean value by probability; NaN where several are no probabilities. Raises ValueError
        if there are not as many classes."""
        if len(probabilities) > 1 and not abs(sum(probabilities) - 1) <= OFF:  # nor is NaN
            return math.nan
        return sum(p * value for p, value in zip(probabilities, self.class_values, strict=True))

    def reward_of_logs(self, logs: Sequence[float]) -> float:
        """The reward from log-probabilities of the tokens among all tokens; NaN if they are invalid, or all these
        tokens are practically impossible."""
        if not all(log <= ROUNDING for log in logs) or max(logs) <= LEAST:
            return math.nan
        if sum(map(math.exp, logs)) > 1 + OFF:
            return math.nan
        chances = [math.exp(log - max(logs)) for log in logs]
        return self.reward([chance / sum(chances) for chance in chances])

    @property
    def server(self) -> str:
        """The same arguments on the command line of vLLM's server."""
        words = []
        for name, value in self.arguments.items():
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
            words += ["--" + name.replace("_", "-"), text]
        return shlex.join(words)


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
    replicas: tuple[dict[str, Any], ...] = ({},)
    """For each replica the arguments that it has beside or instead of `arguments`, such as its device_ids."""
    turns: str | None = None
    """Roles that have the same name here share devices on which only one of them is awake at a time."""
    proposes: int = 0
    """Number of tokens that a draft in the engine guesses at a time. Each answer has the number of guesses."""
    scoring: Scoring | None = None
    """Of an engine that serves the PRM."""
    asks_confidence: bool = False
    """Are steps asked of it with its confidence in them?"""
    checkpoints: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Models that it loads, or that servers load for it, to what they were when the run was planned."""
    probe: tuple[int, ...] = ()
    """Token ids that the engine is to say how it reads, once it is up; none where it does not write."""


@dataclass(frozen=True)
class Died:
    """In the place of a request's result: the engine died, or was killed, before it answered."""

    reason: str
    log: str | None = None
    """A file that may tell more."""

    def __str__(self) -> str:
        return self.reason + (f" (its log: {self.log})" if self.log else "")


class Engine(Protocol):
    """An engine. Once dead it stays dead. Calls may run at the same time."""

    answered: int
    """Requests that it answered, over all calls; what it refused does not count."""

    @property
    def death(self) -> Died | None:
        """How it died, where it is known to be dead."""

    async def ask(
        self, requests: Sequence[Request[Answer]], answered: Answered = unheard
    ) -> list[Answer | Failure | Died]:
        """One answer per request, in order; what was answered before a death is kept. Returns soon after a death.

        `answered` is called with each answer or Failure as soon as it is there, at most once for each request; never
        with Died.
        """

    def progress(self) -> object:
        """A value that differs from an earlier one if the engine has made progress since, if only by a token."""

    async def sleep(self) -> None:
        """Hand the device to another engine; nothing is in flight, and nothing is asked before `wake`. What it had
        cached may be lost. Raises where it cannot."""

    async def wake(self) -> None:
        """Be ready again after `sleep`. Raises where it cannot."""

    async def reset_prefix_cache(self) -> None:
        """Drop cached prefixes; nothing is in flight. Caches that it does not control stay. Raises an error if it
        cannot."""

    def kill(self, reason: str) -> None:
        """End it at once, even if it hangs. Unanswered requests return Died. Does nothing if it is dead."""

    async def close(self) -> None:
        """Stop it, dead or alive, and wait until its devices and memory are free. Called once. If the wait is
        cancelled, the engine is stopped all the same."""
