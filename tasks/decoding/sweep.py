"""Several acceptance thresholds for the price of what they differ in: an attempt that is known is not made again.

An attempt, and its reward, depend on the problem, the sample, the role and the accepted attempts before it, and on no
threshold: trajectories of two thresholds agree up to the first step where they decide differently. So every threshold
decodes on its own, as it would alone, with models that remember: of all that ask for the same attempt, one gets it
written, and the others get a copy.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tasks.decoding.models import Models
from tasks.decoding.trajectory import Attempt, Failure, Trajectory

Node = tuple[str, int, str, str, int]
"""Problem, sample, path, role and attempt: what an attempt, and its reward, depend on."""
Answer = TypeVar("Answer")


class Known(Generic[Answer]):
    """Answers by node. One event loop only."""

    def __init__(self) -> None:
        self.found: dict[Node, Answer] = {}
        self.coming: dict[Node, asyncio.Future[None]] = {}
        """Nodes that somebody has asked for, and what is done once they are answered or given up."""

    async def get(
        self, nodes: Sequence[Node], make: Callable[[list[int]], Awaitable[Sequence[Answer]]]
    ) -> list[Answer]:
        """One answer a node, in order; `make` is given the indices of those that nobody knows or is asking for."""
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
    too: what stalls an engine is not tried again for every threshold."""

    def __init__(self) -> None:
        self.written: Known[Attempt | Failure] = Known()
        self.scored: Known[tuple[float | None, int] | Failure] = Known()
        """Reward, and tokens that it took."""

    def learn(self, trajectories: Iterable[Trajectory]) -> None:
        """Take up all attempts of trajectories, of whatever threshold."""
        for t in trajectories:
            path = ""
            for accepted in t.steps:
                for a in (a for a in t.attempts if a.step == accepted.step):
                    node = (t.problem_id, t.sample, path, a.role, a.attempt)
                    self.written.found.setdefault(node, _unjudged(a))
                    if a.reward is not None:
                        self.scored.found.setdefault(node, (a.reward, a.prm_tokens))
                path += _turn(accepted)

    def __len__(self) -> int:
        return len(self.written.found)


@dataclass(frozen=True)
class RememberingModels(Models):
    """Models that are asked for nothing that `memory` holds. `usage` counts what was really computed."""

    memory: Memory = field(default_factory=Memory)

    async def write(self, role: str, live: Sequence[Trajectory], attempt: int = 0) -> list[Attempt | Failure]:
        ask = super().write

        async def make(indices: list[int]) -> list[Attempt | Failure]:
            return await ask(role, [live[i] for i in indices], attempt)

        nodes = [_node(t, role, attempt) for t in live]
        return [a if isinstance(a, Failure) else copy.copy(a) for a in await self.memory.written.get(nodes, make)]

    async def score(self, live: Sequence[Trajectory], attempts: Sequence[Attempt]) -> list[Failure | None]:
        ask = super().score

        async def make(indices: list[int]) -> list[tuple[float | None, int] | Failure]:
            failures = await ask([live[i] for i in indices], [attempts[i] for i in indices])
            asked = [attempts[i] for i in indices]
            return [failure or (a.reward, a.prm_tokens) for a, failure in zip(asked, failures, strict=True)]

        nodes = [_node(t, a.role, a.attempt) for t, a in zip(live, attempts, strict=True)]
        failures: list[Failure | None] = []
        for a, answer in zip(attempts, await self.memory.scored.get(nodes, make), strict=True):
            if isinstance(answer, Failure):
                failures.append(answer)
            else:
                a.reward, a.prm_tokens = answer
                failures.append(None)
        return failures


def _node(t: Trajectory, role: str, attempt: int) -> Node:
    return (t.problem_id, t.sample, "".join(map(_turn, t.steps)), role, attempt)


def _turn(accepted: Attempt) -> str:
    """One step of a path: who wrote it, and at which attempt."""
    return f"{accepted.role[0]}{accepted.attempt}"


def _unjudged(attempt: Attempt) -> Attempt:
    """An attempt without what an acceptance rule made of it; the ids as which roles read it are shared."""
    plain = copy.copy(attempt)
    plain.threshold = plain.probability = plain.reward = None
    plain.accepted, plain.prm_tokens = False, 0
    return plain
