"""A sample being written: the attempts at its steps, and its text in the vocabulary of every role that reads it."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tasks.decoding.usage import Usage

Ids: TypeAlias = "array[int]"
"""Token ids in some vocabulary, int32 (typecode "i"): one block of memory, however long a context is."""
Finish = Literal["step", "eos", "length"]
Status = Literal["finished", "max_tokens", "max_steps", "failed"]


@dataclass(slots=True)
class Attempt:
    """One model's proposal for a step; a row of the steps table."""

    step: int
    attempt: int
    role: str
    text: str
    token_ids: Ids
    finish: Finish
    seed: int
    parent: int | None = None
    """Number of the attempt at the step before that this one continues; None: the accepted one."""
    reward: float | None = None
    threshold: float | None = None
    probability: float | None = None
    accepted: bool = False
    prm_tokens: int = 0
    proposed: int = 0
    """Tokens that the draft guessed while the target wrote this."""
    confidence: float | None = None
    """The writer's confidence, if that is the reward. It is stored as the reward only."""
    read_as: dict[str, Ids] = field(default_factory=dict)
    """Role to the ids as which it reads this attempt. Filled when a role reads it first; never stored."""


Step = list[Attempt]
"""The attempts at one step, in order."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trajectory cannot go on."""

    error: str


@dataclass(frozen=True, slots=True)
class NoReward(Failure):
    """A model gave a figure that is no reward."""


@dataclass(slots=True)
class Context:
    """What one role reads of a trajectory. It only grows, so that each prompt begins with the one before."""

    ids: Ids
    ends: list[int]
    """ends[k]: length of ids after k steps; ends[0] is the prompt's."""
    begun: int = 0
    """Number of steps at the end of the prompt, which the solution continues (input.prefix)."""

    @classmethod
    def of(cls, prompt: Iterable[int], begun: int = 0) -> Context:
        """The context of a prompt, token ids in the role's vocabulary; `begun`: steps that the prompt already holds."""
        ids = array("i", prompt)
        return cls(ids, [len(ids)], begun)

    @property
    def steps(self) -> int:
        """Number of steps that were read."""
        return len(self.ends) - 1

    def extend(self, ids: Iterable[int]) -> None:
        """Append the ids of the next step."""
        self.ids.extend(ids)
        self.ends.append(len(self.ids))

    def copy(self) -> Context:
        """A context that grows by itself."""
        return Context(self.ids[:], self.ends[:], self.begun)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a trajectory ends for its length."""

    max_steps: int
    max_tokens: int
    windows: dict[str, int]
    """Role to the longest context that it can be given, in tokens."""
    tag_tokens: int = 0
    """Tokens that the PRM's format adds to a step, at most."""


@dataclass(slots=True, eq=False)
class Trajectory:
    """One sample of one problem. Its state follows from its attempts: taking the same attempts again rebuilds it."""

    problem_id: str
    sample: int
    contexts: dict[str, Context]
    """Role to its context. `Models.catch_up` extends it after steps were taken."""
    attempts: list[Attempt] = field(default_factory=list)
    """Every attempt, kept or rejected, in order."""
    waves: list[int] = field(default_factory=list)
    """Round in which each attempt was made."""
    rounds: int = 0
    """Rounds that were begun: a step each, those counted whose attempts were not kept."""
    steps: list[Attempt] = field(default_factory=list)
    """The accepted attempts: step k at index k."""
    tokens: int = 0
    """Tokens of the accepted attempts, each counted in its writer's vocabulary."""
    scored: int | None = None
    """Number of steps that the PRM has read; None before it read anything."""
    status: Status | None = None
    error: str | None = None
    usage: dict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    """Role to what it computed for this trajectory, or for all those that share the object."""

    @property
    def depth(self) -> int:
        """Steps at which attempts were made."""
        return len(self.steps)

    @property
    def paths(self) -> Sequence[Trajectory]:
        """The paths that are being written: the trajectory itself, or every beam."""
        return (self,)

    def is_complete(self, step: Step, proposals: int) -> bool:
        """True if these attempts, read from a table, can be all that were made at the next step. `proposals`:
        candidates for a step of a path."""
        return sum(a.accepted for a in step) == 1 and len(step) >= proposals

    def take(self, step: Step) -> None:
        """Append the attempts at the next step, of which exactly one is accepted."""
        accepted = [a for a in step if a.accepted]
        assert len(accepted) == 1, step
        kept = accepted[0]
        self._enter(step)
        if any(a.reward is not None for a in step):
            self.scored = kept.step + (kept.reward is not None)
        self.steps.append(kept)
        self.tokens += len(kept.token_ids)

    def _enter(self, step: Step) -> None:
        """Keep attempts, numbered as they should be."""
        assert self.status is None, self.status
        for number, attempt in enumerate(step):
            assert (attempt.step, attempt.attempt) == (self.depth, number), attempt
        self.attempts += step
        self.waves += [self.rounds] * len(step)
        self.rounds += 1

    def count_to(self, usage: dict[str, Usage]) -> None:
        """Add from now on to `usage`, which other trajectories may share, what is computed."""
        self.usage = usage

    def tidy(self) -> None:
        """Number the attempts of an ended trajectory as in the steps table."""

    def fail(self, error: str) -> None:
        """End the trajectory as failed, with its error."""
        self.status, self.error = "failed", error

    def room(self, limits: Limits) -> int:
        """Tokens that the next step may have: within max_tokens, and within the window of every role that reads it."""
        room = limits.max_tokens - self.tokens
        for role, context in self.contexts.items():
            left = limits.windows[role] - len(context.ids)
            if role == "prm":
                left -= limits.tag_tokens
            if left < room:
                room = left
        return room

    def update_status(self, limits: Limits) -> None:
        """Set the status if the trajectory has ended. Its contexts must be caught up."""
        if self.status is not None:
            return
        last = self.steps[-1].finish if self.steps else "step"
        if last == "eos":
            self.status = "finished"
        elif last == "length" or self.room(limits) <= 0:
            self.status = "max_tokens"
        elif len(self.steps) >= limits.max_steps:
            self.status = "max_steps"
