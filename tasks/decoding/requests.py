"""What engines are asked, and what they answer.

To add a kind of request, write it here as a dataclass, subclass of `Request` of its answer's type, and add an entry
where each kind of engine has its own: `vllm_requests.Language`, `OpenAIEngine`, `ScriptedEngine`. What lies between the
core and these (supervision, replicas, turns, meters) passes any kind on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

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
    """How the writer's confidence in a step is made of its tokens' log-probabilities; None if it is not wanted."""


GREEDY = Sampling(0.0, 1.0, "\n\n")


@dataclass(slots=True)
class Written:
    """What a language model wrote: at least one id, EOS included, and why it stopped."""

    token_ids: Ids
    finish: Finish
    cached: int = 0
    """Tokens of the prompt that the engine did not have to compute."""
    proposed: int | None = None
    """Tokens that the draft in the engine guessed; None if there is no draft, or the engine does not count them."""
    confidence: float | None = None
    """The writer's confidence, if it was asked for: from 0 to 1; NaN or another figure outside if the log-probabilities
    are invalid."""


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
    """Token ids in the model's vocabulary, int32. It may belong to the trajectory and grow after the answer: engines
    must not change it, nor keep it or a view of it."""
    affinity: int
    """Equal for all requests about a problem, so that they go to the replica that holds its prefixes."""


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


Answered = Callable[[int, Any], None]
"""Is told a request's number in its call and its answer or Failure."""


def unheard(number: int, answer: Any) -> None:
    """For callers who wait for all answers."""


class InferenceEngine(Protocol):
    """An engine as the core sees it: it serves the model of a role."""

    async def ask(self, requests: Sequence[Request[Answer]], answered: Answered = unheard) -> list[Answer | Failure]:
        """One answer per request, in order. A failure concerns its own request only, even if the engine dies on it.

        `answered` is called with each answer as soon as it is there, at most once for each request. What it was not
        called with is only in the list. Raises EngineError once the engine cannot be brought back.
        """
