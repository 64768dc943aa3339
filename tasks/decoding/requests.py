"""What engines are asked, and what they answer.

To add a kind of request, write it here as a dataclass, subclass of `Request` of its answer's type, and add an entry
where each kind of engine has its own: `vllm_requests.Language`, `OpenAIEngine`, `ScriptedEngine`. What lies between the
core and these (supervision, replicas, turns, meters) passes any kind on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from tasks.decoding.trajectory import Failure, Finish, Ids

# These are made for every attempt; frozen dataclasses take three times as long to make.

Confidence = Literal["mean", "min"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a step is written."""

    temperature: float
    """0 is greedy."""
    top_p: float
    separator: str
    """What ends a step."""
    confidence: Confidence | None = None
    """Which of its tokens' probabilities is the writer's confidence in a step; None: it is not asked for."""


GREEDY = Sampling(0.0, 1.0, "\n\n")


@dataclass(slots=True)
class Written:
    """What a language model wrote: at least one id, EOS included, and why it stopped."""

    token_ids: Ids
    finish: Finish
    cached: int = 0
    """Tokens of the prompt that the engine did not have to compute."""
    proposed: int | None = None
    """Tokens that a draft in the engine guessed at; None where it has none, or does not tell."""
    confidence: float | None = None
    """Where it was asked for: in [0, 1], or where its log-probabilities are none, NaN or another figure outside."""


@dataclass(slots=True)
class Scored:
    """What a reward model gave."""

    reward: float
    """In [0, 1]; any other figure, NaN among them, is no reward."""
    cached: int = 0


Answer = TypeVar("Answer", covariant=True)


class Request(Generic[Answer]):
    """One thing asked of an engine, and the type of what it answers."""

    __slots__ = ()
    prompt: Ids
    """Token ids in the model's vocabulary, int32. May be the trajectory's own, which grows once the request is
    answered: engines must not change it, nor keep it or a view of it."""
    affinity: int
    """Equal for all that is asked about a problem, so that the same replica of an engine holds its prefixes."""


@dataclass(slots=True)
class StepRequest(Request[Written]):
    """One step asked of a language model, which continues the prompt up to a separator, EOS or `max_tokens`."""

    prompt: Ids
    max_tokens: int
    seed: int
    affinity: int = 0
    sampling: Sampling = GREEDY


@dataclass(slots=True)
class ScoreRequest(Request[Scored]):
    """One solution shown to a reward model: the last id of the prompt is the position whose output is the reward."""

    prompt: Ids
    affinity: int = 0


class InferenceEngine(Protocol):
    """What serves a role's model, as the core sees it."""

    async def ask(self, requests: Sequence[Request[Answer]]) -> list[Answer | Failure]:
        """One answer per request, in order. One request's failure is its own, also where the engine dies on it.

        Raises EngineError once the engine cannot be brought back.
        """
