"""Several acceptance thresholds at once: an attempt that is known is not made again.

An attempt, and its reward, depend on the problem, the sample, the role and the text before it, and on no threshold:
trajectories of two thresholds agree up to the first step where they decide differently, and beyond it where the target
writes what the draft wrote. So every threshold decodes as it would alone, with models that remember. Of all that ask
for the same attempt, the first has it written, and the others get a copy.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

from tasks.decoding.models import Models
from tasks.decoding.rewards import Trial
from tasks.decoding.trajectory import Attempt, Failure, Trajectory

Node = tuple[str, int, bytes, str, int]
"""Problem, sample, path, role and attempt: what an attempt, or its reward, depends on."""
Answer = TypeVar("Answer")


class Known(Generic[Answer]):
    """Answers by node. One event loop only."""

    def __init__(self) -> None:
        self.learns = True
        """Are answers kept that were made for somebody?"""
        self.found: dict[Node, Answer] = {}
        self.coming: dict[Node, asyncio.Future[None]] = {}
        """Nodes that were asked for and not answered yet, with a future for each."""

    async def get(
        self, nodes: Sequence[Node], make: Callable[[list[int]], Awaitable[Sequence[Answer]]]
    ) -> list[Answer]:
        """One answer for each node, in order. `make` gets the indices of nodes that are neither known nor asked for."""
        if not self.learns:
            new = [i for i, node in enumerate(nodes) if node not in self.found]
            made = dict(zip(new, await make(new) if new else [], strict=True))
            return [made[i] if i in made else self.found[node] for i, node in enumerate(nodes)]
        while missing := {node: i for i, node in enumerate(nodes) if node not in self.found}:
            theirs = {self.coming[node] for node in missing if node in self.coming}
            if ours := [i for node, i in missing.items() if node not in self.coming]:
                done = asyncio.get_running_loop().create_future()
                self.coming |= {nodes[i]: done for i in ours}
                try:
                    for i, answer in zip(ours, await make(ours), strict=True):
                        self.found[nodes[i]] = answer
                finally:
                    for i in ours:
                        del self.coming[nodes[i]]
                    done.set_result(None)
            if theirs:
                await asyncio.wait(theirs)  # what those who asked could not get is asked for again
        return [self.found[node] for node in nodes]


class Memory:
    """Attempts and rewards of one input under one configuration, the acceptance rule apart. Failures are remembered
    too, so that a request that stalls an engine is not repeated for every threshold."""

    def __init__(self, alike: bool) -> None:
        """`alike`: do token ids mean the same whoever wrote them?"""
        self.alike = alike
        self.written: Known[Attempt | Failure] = Known()
        self.scored: Known[float | Failure | None] = Known()
        self.trial = Trial()
        """Of all that make it, as each asks for a part."""

    def __len__(self) -> int:
        return len(self.written.found)

    def close(self) -> None:
        """Learn no more. For a long run whose first problems are in the memory."""
        self.written.learns = self.scored.learns = False

    def learn(self, trajectories: Iterable[Trajectory]) -> None:
        """Take up all attempts of trajectories, of whatever threshold."""
        for t in trajectories:
            by_step: list[list[Attempt]] = [[] for _ in t.steps]
            for a in t.attempts:
                by_step[a.step].append(a)
            for k, attempts in enumerate(by_step):
                path = self.path(t.steps[:k])
                for a in attempts:
                    node = (t.problem_id, t.sample, path, a.role, a.attempt)
                    self.written.found.setdefault(node, _unjudged(a))
                    if a.reward is not None:
                        self.trial.passed = True
                        self.scored.found.setdefault(node, a.reward)

    def path(self, steps: Sequence[Attempt]) -> bytes:
        """What the next attempt depends on: the tokens of the accepted attempts before it, as the PRM reads them,
        whichever model wrote them."""
        found = blake2b(digest_size=16)
        for a in steps:
            found.update(len(a.token_ids).to_bytes(4) + a.token_ids.tobytes())
            if not self.alike:
                found.update(a.role.encode())
        return found.digest()


class RememberingModels(Models):
    """Models that look attempts and rewards up in `memory` first. `usage` counts what was really computed."""

    def __init__(self, models: Models, memory: Memory) -> None:
        """The same models, which look attempts up in `memory` before they ask an engine."""
        super().__init__(
            models.writers, models.prm, models.limits, models.seed, models.sampling, memory.trial, models.timed
        )
        self.memory = memory

    async def write(
        self, role: str, paths: Sequence[Trajectory], candidates: Sequence[int] | None = None, after: int = 0
    ) -> list[Attempt | Failure]:
        """As `Models.write`; attempts that the memory has are not generated."""
        ask, numbers = super().write, candidates or [0] * len(paths)

        async def make(indices: list[int]) -> list[Attempt | Failure]:
            return await ask(role, [paths[i] for i in indices], [numbers[i] for i in indices], after)

        nodes = [self._node(t, role, after + number) for t, number in zip(paths, numbers, strict=True)]
        return [a if isinstance(a, Failure) else copy.copy(a) for a in await self.memory.written.get(nodes, make)]

    async def score(self, paths: Sequence[Trajectory], attempts: Sequence[Attempt]) -> list[Failure | None]:
        """As `Models.score`; rewards that the memory has are not asked for."""
        ask = super().score

        async def make(indices: list[int]) -> list[float | Failure | None]:
            asked = [attempts[i] for i in indices]
            failures = await ask([paths[i] for i in indices], asked)
            return [failure or a.reward for a, failure in zip(asked, failures, strict=True)]

        nodes = [self._node(t, a.role, a.attempt) for t, a in zip(paths, attempts, strict=True)]
        answers = await self.memory.scored.get(nodes, make)
        if self.prm is None:
            for a, answer in zip(attempts, answers, strict=True):
                assert isinstance(answer, float)
                a.reward = answer
            return [None] * len(attempts)
        self.read("prm", [t.contexts["prm"] for t in paths], attempts)
        tail = len(self.prm.format.tail)
        read: set[Trajectory] = set()
        for t, a, answer in zip(paths, attempts, answers, strict=True):
            if answer is None:  # it does not fit the PRM's window
                continue
            context = t.contexts["prm"]
            seen = 0 if t.scored is None else context.ends[t.scored]
            if t in read:
                seen = len(context.ids)
            read.add(t)
            if not isinstance(answer, Failure):
                a.reward, a.prm_tokens = answer, len(context.ids) + len(a.read_as["prm"]) + tail - seen
        return [answer if isinstance(answer, Failure) else None for answer in answers]

    def _node(self, t: Trajectory, role: str, attempt: int) -> Node:
        return (t.problem_id, t.sample, self.memory.path(t.steps), role, attempt)


def _unjudged(attempt: Attempt) -> Attempt:
    """A copy of an attempt without the decision of an acceptance rule. The ids as which roles read it are shared."""
    plain = copy.copy(attempt)
    plain.threshold = plain.probability = plain.reward = None
    plain.accepted, plain.prm_tokens = False, 0
    return plain
