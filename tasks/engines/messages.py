"""What a run and an engine's process say to each other.

Asked, Dropped and Order go in, and None, which ends the process; Ready or Refused comes out first, then Answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tasks.decoding.requests import Request


@dataclass(slots=True)
class Asked:
    """Requests, numbered from `first` on."""

    first: int
    requests: list[Request[Any]]


@dataclass(slots=True)
class Dropped:
    """Requests that nobody waits for any more."""

    numbers: list[int]


@dataclass(slots=True)
class Order:
    """Something to be done while nothing is in flight: sleep | wake | reset_prefix_cache."""

    what: str


@dataclass(slots=True)
class Ready:
    """The engine can be asked; or an order was carried out."""

    read: str | None = None
    """After its start: the text of the spec's `probe`, by the engine's own tokenizer."""


@dataclass(slots=True)
class Refused:
    """The engine did not start."""

    why: str


@dataclass(slots=True)
class Answers:
    """Answers and Failures by request number, and a number that changes as long as the engine gets on."""

    progress: int
    results: list[tuple[int, Any]] = field(default_factory=list)
    given_up: bool = False
    """Did vLLM end a request unasked?"""

    def __bool__(self) -> bool:
        return bool(self.results) or self.given_up

    def add(self, number: int, result: Any) -> None:
        """A request's answer or Failure; None where vLLM ended it unasked."""
        if result is None:
            self.given_up = True
        else:
            self.results.append((number, result))
