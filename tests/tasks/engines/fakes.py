"""Engines that die as a test wants them to, on a clock that nobody waits for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tasks.decoding.requests import StepRequest, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.spec import Died
from tasks.engines.supervision import Supervisor
from tasks.errors import UserError

T = TypeVar("T")
SECONDS = 5.0
"""Longest time that a fake engine takes over an answer."""


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time jumps to what is due next, once nothing else is left to do."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def play(scene: Coroutine[Any, Any, T]) -> T:
    """Run a scene to its end, and see that it leaves nothing running."""

    async def alone() -> T:
        try:
            return await scene
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(alone())


def ask(problem: int, wave: int = 0, seed: int = 0) -> StepRequest:
    return StepRequest([problem, wave], 8, seed)


def answer(of: StepRequest) -> Written:
    """What every engine writes, whatever its life was like."""
    return Written([*of.prompt, of.seed, 7], "step")


class World:
    """What happens to the engines of a role, and what they did."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.crashing: set[tuple[int, int]] = set()
        """(problem, wave) that engines die on."""
        self.stalling: set[tuple[int, int]] = set()
        self.refused: set[int] = set()
        self.deaths: set[int] = set()
        """Numbers of answers after which the engine dies that gives them, whatever it is doing."""
        self.starts: list[bool] = []
        """Do the next starts succeed? All do that come later."""
        self.started = self.failed_starts = self.alive = self.answers = 0
        self.said: list[str] = []
        self.asked: list[StepRequest] = []
        self.engine: FakeEngine | None = None

    async def start(self) -> FakeEngine:
        assert not self.alive, "an engine was started beside another one of its role"
        await asyncio.sleep(100)
        if self.starts and not self.starts.pop(0):
            self.failed_starts += 1
            raise UserError("the draft engine did not start: no memory")
        self.started += 1
        self.alive += 1
        self.engine = FakeEngine(self)
        return self.engine

    def supervisor(self, restarts: int = 5, patience: float = 600.0) -> Supervisor:
        return Supervisor("draft", self.start, asyncio.Lock(), self.said.append, restarts=restarts, patience=patience)


class FakeEngine:
    def __init__(self, world: World) -> None:
        self.world = world
        self.answered = 0
        self.death: Died | None = None
        self.dead = asyncio.Event()

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure | Died]:
        """One answer after another, in any order."""
        world = self.world
        world.asked += asks
        results: list[Written | Failure | Died | None] = [None] * len(asks)
        for i in world.random.sample(range(len(asks)), len(asks)):
            await asyncio.sleep(world.random.choice([0, 0, SECONDS * world.random.random()]))
            if self.death:
                break
            problem, wave = asks[i].prompt
            if (problem, wave) in world.crashing:
                self.kill("it choked")
            elif problem in world.refused:
                results[i] = Failure("refused")
            elif (problem, wave) not in world.stalling:
                results[i] = answer(asks[i])
                self.answered += 1
                world.answers += 1
                if world.answers in world.deaths:
                    self.kill("a passing cloud")
        if None in results:
            await self.dead.wait()
        return [result or self.death for result in results]  # type: ignore[misc]

    def progress(self) -> int:
        return self.answered

    def kill(self, reason: str) -> None:
        self.death = self.death or Died(reason)
        self.dead.set()

    async def close(self) -> None:
        self.kill("closed")
        try:
            await asyncio.sleep(0)
        finally:
            self.world.alive -= 1
