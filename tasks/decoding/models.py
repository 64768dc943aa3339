"""The models of a run as the core sees them: what each is asked (see requests.py), and how its role reads a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tasks.decoding.requests import GREEDY, InferenceEngine, Sampling, Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.rewards import Trial, reward_of
from tasks.decoding.seeds import affinity, derive
from tasks.decoding.trajectory import Attempt, Context, Failure, Ids, Limits, NoReward, Trajectory


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

    def merge(self, more: Usage) -> None:
        """Add what another usage counted."""
        self.requests += more.requests
        self.generated += more.generated
        self.prefilled += more.prefilled
        self.cached += more.cached


class Vocabulary(Protocol):
    """A language model's tokenizer."""

    key: str
    """Equal for two roles whose token ids mean the same."""

    def encode_steps(self, texts: list[str]) -> list[Ids]:
        """Ids of each text by itself. Special tokens in it are read as plain text."""

    def decode_steps(self, ids: Sequence[Ids]) -> list[str]:
        """Text of each step's ids as a continuation, without special tokens."""


class StepFormat(Protocol):
    """How a reward model reads a step."""

    tail: Ids
    """Ids at the end of every prompt, after the last step. The next step does not continue from them."""

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """Ids of each step's text by itself, up to and including the position whose output is the reward, unless that
        is in `tail`. `numbers`: its place in its solution, from 0."""


@dataclass(frozen=True)
class LanguageModel:
    """A model that writes: its engine and its tokenizer."""

    engine: InferenceEngine
    vocabulary: Vocabulary
    name: str = "the model"
    """For messages: its path or hub id."""


@dataclass(frozen=True)
class RewardModel:
    """The PRM: its engine, and how it reads steps."""

    engine: InferenceEngine
    format: StepFormat
    name: str = "the model"
    """As for `LanguageModel`."""


@dataclass(frozen=True)
class Models:
    """The models of a run, by role, with the run's limits, seed and way of sampling."""

    writers: dict[str, LanguageModel]
    """`draft`, `target`, or both."""
    prm: RewardModel | None
    """None if the method asks for no rewards, or the writers' own confidence is the reward."""
    limits: Limits
    seed: int
    sampling: Sampling = GREEDY
    usage: dict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    """Role to what it computed through this object."""
    trial: Trial = field(default_factory=Trial)
    """Of what makes the rewards."""

    def metered(self) -> Models:
        """The same models with a meter of their own."""
        return replace(self, usage=defaultdict(Usage))

    def catch_up(self, trajectories: Sequence[Trajectory]) -> None:
        """Extend every context by the steps that it lacks."""
        for role in (*self.writers, *(["prm"] if self.prm else [])):
            contexts = [(t.contexts[role], t.steps) for t in trajectories]
            behind = [(context, attempt) for context, steps in contexts for attempt in steps[context.steps :]]
            self.read(role, [context for context, _ in behind], [attempt for _, attempt in behind])
            for context, attempt in behind:
                context.extend(attempt.read_as[role])

    def read(self, role: str, contexts: Sequence[Context], attempts: Sequence[Attempt]) -> None:
        """Fill `read_as[role]` of attempts, given the context that each follows: the writer's ids if the vocabulary is
        shared, else the ids of its text."""
        pairs = [(c, a) for c, a in zip(contexts, attempts, strict=True) if role not in a.read_as]
        unread = [a for _, a in pairs]
        if role != "prm":
            vocabulary = self.writers[role].vocabulary
            alike = {r for r, model in self.writers.items() if model.vocabulary.key == vocabulary.key}
            foreign = []
            for a in unread:
                if a.role in alike:
                    a.read_as[role] = a.token_ids
                else:
                    foreign.append(a)
            encoded = vocabulary.encode_steps([a.text for a in foreign]) if foreign else []
        else:
            assert self.prm is not None
            foreign, encode = unread, self.prm.format.encode_steps
            encoded = encode([a.text for a in foreign], [c.begun + a.step for c, a in pairs]) if foreign else []
        for a, ids in zip(foreign, encoded, strict=True):
            a.read_as[role] = ids

    async def write(
        self, role: str, live: Sequence[Trajectory], candidates: Sequence[int] | None = None, after: int = 0
    ) -> list[Attempt | Failure]:
        """One attempt at the next step of each trajectory, in order; a trajectory may come several times.

        `candidates`: the number of each among the role's candidates for that step, which its seed depends on (None: 0).
        `after`: number of other attempts at the step; numbering goes on from there. If the writer's confidence is the
        reward and it gives no valid figure, there is a Failure in the place of its attempt.
        """
        if not live:
            return []
        model, numbers = self.writers[role], candidates or [0] * len(live)
        seeds = [
            derive(self.seed, t.problem_id, t.sample, len(t.steps), role, number)
            for t, number in zip(live, numbers, strict=True)
        ]
        requests = [
            StepRequest(t.contexts[role].ids, t.room(self.limits), seed, affinity(t.problem_id), self.sampling)
            for t, seed in zip(live, seeds, strict=True)
        ]
        results = await model.engine.ask(requests)
        written = [r for r in results if isinstance(r, Written)]
        self.trial.note(reward_of(w.confidence) for w in written if w.confidence is not None)
        texts = iter(model.vocabulary.decode_steps([w.token_ids for w in written]))
        attempts: list[Attempt | Failure] = []
        for t, number, seed, result in zip(live, numbers, seeds, results, strict=True):
            if isinstance(result, Failure):
                attempts.append(Failure(f"{role}: {result.error}"))
                continue
            self.usage[role].add(len(t.contexts[role].ids), result.cached, len(result.token_ids))
            text = next(texts)
            if result.finish == "length":
                text = text.rstrip("\ufffd")  # the cut may fall inside a character
            attempt = Attempt(len(t.steps), after + number, role, text, result.token_ids, result.finish, seed)
            if result.confidence is not None:
                attempt.confidence = reward_of(result.confidence)
                if attempt.confidence is None:
                    attempts.append(self._without_reward(role, t, result.confidence))
                    continue
            if result.proposed is not None:  # the draft reads what the target reads
                attempt.proposed = result.proposed
                self.usage["draft"].add(len(t.contexts[role].ids), result.cached, result.proposed)
            attempts.append(attempt)
        return attempts

    async def score(self, live: Sequence[Trajectory], attempts: Sequence[Attempt]) -> list[Failure | None]:
        """Set `reward` (a float32) and `prm_tokens` of each trajectory's attempt. Returns for each None, or a Failure
        if it could not be scored. A trajectory may come several times; tokens that its attempts share count once.

        An attempt that does not fit the PRM's window keeps the reward None. Raises UserError if the model gives no
        valid rewards at all.
        """
        if self.prm is None:
            for a in attempts:
                assert a.confidence is not None, "rewards are asked for, and there is nothing to make them of"
                a.reward = a.confidence
            return [None] * len(attempts)
        self.read("prm", [t.contexts["prm"] for t in live], attempts)
        window, tail = self.limits.windows["prm"], self.prm.format.tail
        fits = []
        read: set[Trajectory] = set()
        for t, a in zip(live, attempts, strict=True):
            context, ids = t.contexts["prm"], a.read_as["prm"]
            length = len(context.ids) + len(ids) + len(tail)
            if length <= window:
                seen = 0 if t.scored is None else context.ends[t.scored]
                if t in read:
                    seen = len(context.ids)
                read.add(t)
                prompt = context.ids[:]
                prompt.extend(ids)
                prompt.extend(tail)
                fits.append((t, a, ScoreRequest(prompt, affinity(t.problem_id)), length - seen))
        scores = await self.prm.engine.ask([request for _, _, request, _ in fits]) if fits else []
        self.trial.note(reward_of(score.reward) for score in scores if isinstance(score, Scored))
        failures: dict[int, Failure] = {}
        for (t, a, request, new), score in zip(fits, scores, strict=True):
            if isinstance(score, Failure):
                failures[id(a)] = Failure(f"prm: {score.error}")
                continue
            self.usage["prm"].add(len(request.prompt), score.cached, 0)
            if (reward := reward_of(score.reward)) is None:
                failures[id(a)] = self._without_reward("prm", t, score.reward)
            else:
                a.reward, a.prm_tokens = reward, new
        return [failures.get(id(a)) for a in attempts]

    def _without_reward(self, role: str, trajectory: Trajectory, figure: float) -> NoReward:
        """The Failure for a figure that is no reward. Raises UserError if the model gives nothing else."""
        model = self.writers[role] if self.prm is None else self.prm
        field = "models.prm" if role == "prm" else f"models.{role}.model"
        return NoReward(f"{role}: {self.trial.failed(field, model.name, trajectory.problem_id, figure)}")
