"""The models of a run as the core sees them: what each is asked (see requests.py), and how its role reads a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tasks.decoding.batching import Batching, Gathering, Read, Timed
from tasks.decoding.requests import GREEDY, InferenceEngine, Sampling, Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.rewards import Trial, reward_of
from tasks.decoding.seeds import affinity, derive
from tasks.decoding.trajectory import Attempt, Context, Failure, Ids, Limits, NoReward, Trajectory
from tasks.decoding.usage import Usage


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


@dataclass(slots=True)
class _Writing:
    """An attempt that is to be written."""

    path: Trajectory
    number: int
    """Of the attempt, at its step."""
    seed: int


@dataclass(slots=True)
class _Scoring:
    """An attempt that is to be scored."""

    path: Trajectory
    attempt: Attempt
    seen: int = 0
    """Tokens of its prompt that the PRM has read before."""


_Unread = tuple[str, Context, Attempt]
"""A role, the context that an attempt follows, and the attempt, whose ids it lacks."""


class Models:
    """The models of a run, by role, with the run's limits, seed and way of sampling."""

    def __init__(
        self,
        writers: dict[str, LanguageModel],
        prm: RewardModel | None,
        limits: Limits,
        seed: int,
        sampling: Sampling = GREEDY,
        trial: Trial | None = None,
        timed: Timed = nullcontext,
    ) -> None:
        """`writers`: `draft`, `target`, or both. `prm`: None if the method asks for no rewards, or the writers' own
        confidence is the reward. `trial`: of what makes the rewards. `timed`: measures the time between answers and
        the requests that follow from them."""
        self.writers, self.prm, self.limits, self.seed, self.sampling = writers, prm, limits, seed, sampling
        self.trial, self.timed = trial or Trial(), timed
        self.usage: dict[str, Usage] = defaultdict(Usage)
        """Role to what it computed through this object."""
        self._roles = {*writers, *(["prm"] if prm else [])}
        keys = {role: model.vocabulary.key for role, model in writers.items()}
        self._alike = {role: {r for r in keys if keys[r] == key} for role, key in keys.items()}
        """Writer to those whose token ids mean the same to it."""
        self._reading = Gathering(self._encode, timed)
        self._writing = {
            role: Batching(model.engine, partial(self._step_requests, role), partial(self._attempts, role), timed)
            for role, model in writers.items()
        }
        self._scoring = Batching(prm.engine, self._score_requests, self._rewards, timed) if prm else None

    async def catch_up(self, paths: Sequence[Trajectory]) -> None:
        """Extend every context by the steps that it lacks."""
        behind = [
            (role, context, attempt)
            for path in paths
            for role, context in path.contexts.items()
            if role in self._roles
            for attempt in path.steps[len(context.ends) - 1 :]
        ]
        if not behind:
            return
        if unread := [one for one in behind if not self._is_read(one[0], one[2])]:
            await self._reading.do(unread)
        for role, context, attempt in behind:
            context.extend(attempt.read_as[role])

    def read(self, role: str, contexts: Sequence[Context], attempts: Sequence[Attempt]) -> None:
        """Fill `read_as[role]` of attempts, given the context that each follows: the writer's ids if the vocabulary is
        shared, else the ids of its text."""
        self._encode([(role, c, a) for c, a in zip(contexts, attempts, strict=True) if not self._is_read(role, a)])

    def _is_read(self, role: str, attempt: Attempt) -> bool:
        """Are the ids known as which a role reads an attempt? Without a tokenizer where it shares the writer's."""
        if role in attempt.read_as:
            return True
        if attempt.role in self._alike.get(role, ()):
            attempt.read_as[role] = attempt.token_ids
            return True
        return False

    def _encode(self, unread: list[_Unread]) -> None:
        for role in dict.fromkeys(role for role, _, _ in unread):
            some = [(context, attempt) for of, context, attempt in unread if of == role]
            texts = [attempt.text for _, attempt in some]
            if role == "prm":
                assert self.prm is not None
                encoded = self.prm.format.encode_steps(texts, [c.begun + a.step for c, a in some])
            else:
                encoded = self.writers[role].vocabulary.encode_steps(texts)
            for (_, attempt), ids in zip(some, encoded, strict=True):
                attempt.read_as[role] = ids

    async def write(
        self, role: str, paths: Sequence[Trajectory], candidates: Sequence[int] | None = None, after: int = 0
    ) -> list[Attempt | Failure]:
        """One attempt at the next step of each path, in order; a path may come several times.

        `candidates`: the number of each among the role's candidates for that step, which its seed depends on (None: 0).
        `after`: number of other attempts at the step; numbering goes on from there. If the writer's confidence is the
        reward and it gives no valid figure, there is a Failure in the place of its attempt. Raises UserError if a
        writer gives no valid figure at all, EngineError as `InferenceEngine.ask`.
        """
        numbers = candidates or [0] * len(paths)
        tasks = [
            _Writing(t, after + number, derive(self.seed, t.problem_id, t.sample, len(t.steps), role, number))
            for t, number in zip(paths, numbers, strict=True)
        ]
        return await self._writing[role].ask(tasks)

    async def score(self, paths: Sequence[Trajectory], attempts: Sequence[Attempt]) -> list[Failure | None]:
        """Set `reward` (a float32) and `prm_tokens` of each path's attempt. Returns for each None, or a Failure if it
        could not be scored. A path may come several times; tokens that its attempts share count once.

        An attempt that does not fit the PRM's window keeps the reward None. Raises UserError if the model gives no
        valid rewards at all, EngineError as `InferenceEngine.ask`.
        """
        if self._scoring is None:
            for a in attempts:
                assert a.confidence is not None, "rewards are asked for, and there is nothing to make them of"
                a.reward = a.confidence
            return [None] * len(attempts)
        return await self._scoring.ask([_Scoring(t, a) for t, a in zip(paths, attempts, strict=True)])

    # --- what happens to a batch

    def _step_requests(self, role: str, tasks: list[_Writing]) -> list[StepRequest]:
        limits, sampling = self.limits, self.sampling
        return [
            StepRequest(w.path.contexts[role].ids, w.path.room(limits), w.seed, affinity(w.path.problem_id), sampling)
            for w in tasks
        ]

    def _attempts(self, role: str, written: list[Read[_Writing]]) -> list[Attempt | Failure]:
        answers = [answer for _, _, answer in written if isinstance(answer, Written)]
        self.trial.note(reward_of(w.confidence) for w in answers if w.confidence is not None)
        texts = iter(self.writers[role].vocabulary.decode_steps([w.token_ids for w in answers]))
        attempts: list[Attempt | Failure] = []
        for task, _, answer in written:
            if isinstance(answer, Failure):
                attempts.append(Failure(f"{role}: {answer.error}"))
                continue
            t = task.path
            prompt = len(t.contexts[role].ids)
            self._count(role, t, prompt, answer.cached, len(answer.token_ids))
            text = next(texts)
            if answer.finish == "length":
                text = text.rstrip("\ufffd")  # the cut may fall inside a character
            attempt = Attempt(len(t.steps), task.number, role, text, answer.token_ids, answer.finish, task.seed)
            if answer.confidence is not None:
                attempt.confidence = reward_of(answer.confidence)
                if attempt.confidence is None:
                    attempts.append(self._without_reward(role, t, answer.confidence))
                    continue
            if answer.proposed is not None:  # the draft reads what the target reads
                attempt.proposed = answer.proposed
                self._count("draft", t, prompt, answer.cached, answer.proposed)
            attempts.append(attempt)
        return attempts

    def _score_requests(self, tasks: list[_Scoring]) -> list[ScoreRequest | None]:
        assert self.prm is not None
        self.read("prm", [s.path.contexts["prm"] for s in tasks], [s.attempt for s in tasks])
        window, tail = self.limits.windows["prm"], self.prm.format.tail
        requests: list[ScoreRequest | None] = []
        read: set[Trajectory] = set()
        for task in tasks:
            t, ids = task.path, task.attempt.read_as["prm"]
            context = t.contexts["prm"]
            if len(context.ids) + len(ids) + len(tail) > window:
                requests.append(None)
                continue
            task.seen = len(context.ids) if t in read else 0 if t.scored is None else context.ends[t.scored]
            read.add(t)
            prompt = context.ids[:]
            prompt.extend(ids)
            prompt.extend(tail)
            requests.append(ScoreRequest(prompt, affinity(t.problem_id)))
        return requests

    def _rewards(self, scored: list[Read[_Scoring]]) -> list[Failure | None]:
        self.trial.note(reward_of(answer.reward) for _, _, answer in scored if isinstance(answer, Scored))
        failures: list[Failure | None] = []
        for task, request, answer in scored:
            failure: Failure | None = None
            if isinstance(answer, Failure):
                failure = Failure(f"prm: {answer.error}")
            elif request is not None:
                length = len(request.prompt)
                self._count("prm", task.path, length, answer.cached, 0)
                if (reward := reward_of(answer.reward)) is None:
                    failure = self._without_reward("prm", task.path, answer.reward)
                else:
                    task.attempt.reward, task.attempt.prm_tokens = reward, length - task.seen
            failures.append(failure)
        return failures

    def _count(self, role: str, trajectory: Trajectory, prompt: int, cached: int, generated: int) -> None:
        self.usage[role].add(prompt, cached, generated)
        trajectory.usage[role].add(prompt, cached, generated)

    def _without_reward(self, role: str, trajectory: Trajectory, figure: float) -> NoReward:
        """The Failure for a figure that is no reward. Raises UserError if the model gives nothing else."""
        model = self.writers[role] if self.prm is None else self.prm
        field = "models.prm" if role == "prm" else f"models.{role}.model"
        return NoReward(f"{role}: {self.trial.failed(field, model.name, trajectory.problem_id, figure)}")
