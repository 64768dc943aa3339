"""Engines with continuous batching, and the cards on which they run: the moving parts of a simulated run.

Time passes in quanta of a few tokens: an engine admits what waits as far as there is room, computes its prompts, and
writes up to QUANTUM tokens of everything admitted. Engines that share cards take quanta in turn, so that their seconds
add up; engines on cards of their own go on side by side.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from simulated_devices import Serving

QUANTUM = 8
"""Tokens that a sequence may write before others are admitted in the place of those that ended."""


@dataclass(eq=False)
class Job:
    """One role's part in a wave: what a cohort asks of an engine at once."""

    role: str
    prefill: np.ndarray
    """[sequence] tokens of the prompt that are computed."""
    cached: np.ndarray
    """[sequence] tokens of the prompt that are not."""
    writes: np.ndarray
    """[sequence] tokens to write; 0 where it is only read."""
    admitted: int = 0
    unfinished: int = field(init=False)

    def __post_init__(self) -> None:
        self.unfinished = len(self.prefill)


class Engine:
    """One role's engine: all its replicas, among which sequences are dealt out evenly."""

    def __init__(self, serving: Serving, sequences: int, host_cache: bool = False) -> None:
        """`sequences`: most that are in progress at once. `host_cache`: prefixes lie in the host's memory, from where
        they are fetched, and to which what is new is written; the cards are taken to wait for both."""
        self.serving, self.sequences, self.host_cache = serving, max(1, sequences), host_cache
        self.waiting: deque[Job] = deque()
        self.jobs: list[Job] = []
        self.of_job = np.zeros(0, np.int64)
        self.left = np.zeros(0, np.int64)
        self.context = np.zeros(0)

    def has_work(self) -> bool:
        return bool(self.waiting or len(self.left))

    def quantum(self) -> tuple[float, list[Job]]:
        """Do some of the work: seconds that it takes, jobs that it completes."""
        computed, moved = self._admit()
        seconds = self.serving.prefill_seconds(computed)
        if self.host_cache:
            seconds += self.serving.move_seconds(moved)
        if longest := int(self.left.max(initial=0)):
            tokens = min(QUANTUM, longest)
            written = np.minimum(self.left, tokens)
            held = float((self.context + written / 2)[written > 0].sum())
            seconds += tokens * self.serving.iteration_seconds(written.sum() / tokens, held)
            self.left = self.left - written
            self.context = self.context + written
        return seconds, self._retire()

    def _admit(self) -> tuple[float, float]:
        """Take in what waits, as far as there is room.

        Returns the tokens of prompts to compute, and how many tokens, computed or not, those sequences end with.
        """
        computed = moved = 0.0
        while self.waiting and (room := self.sequences - len(self.left)) > 0:
            job = self.waiting[0]
            if job not in self.jobs:
                self.jobs.append(job)
            some = slice(job.admitted, job.admitted + room)
            taken = len(job.prefill[some])
            computed += float(job.prefill[some].sum())
            moved += float((job.prefill[some] + job.cached[some] + job.writes[some]).sum())
            self.of_job = np.concatenate([self.of_job, np.full(taken, self.jobs.index(job))])
            self.left = np.concatenate([self.left, job.writes[some]])
            self.context = np.concatenate([self.context, job.prefill[some] + job.cached[some]])
            job.admitted += taken
            if job.admitted == len(job.prefill):
                self.waiting.popleft()
        return computed, moved

    def _retire(self) -> list[Job]:
        """Let go of sequences that have ended; returns jobs of which none is left."""
        ended = self.left == 0
        for number, count in Counter(self.of_job[ended].tolist()).items():
            self.jobs[number].unfinished -= count
        keep = ~ended
        self.of_job, self.left, self.context = self.of_job[keep], self.left[keep], self.context[keep]
        done = [job for job in self.jobs if job.unfinished == 0]
        if done:
            stay = [job for job in self.jobs if job.unfinished]
            new = np.array([stay.index(job) if job.unfinished else -1 for job in self.jobs], np.int64)
            self.jobs, self.of_job = stay, new[self.of_job]
        return done


class Cards:
    """Cards that some engines share. One quantum runs at a time."""

    def __init__(self, engines: dict[str, Engine], take_turns: bool = False) -> None:
        """`take_turns`: only one engine's weights are there at a time; it keeps the cards while it has work, and the
        change to another costs putting its weights away and fetching the other's."""
        self.engines, self.take_turns = engines, take_turns
        self.order = deque(engines)
        self.awake: str | None = None
        self.busy: Counter[str] = Counter()
        """Role to seconds; `swaps`: those of changes."""
        self.working = False

    def quantum(self) -> tuple[float, list[Job]]:
        """The next quantum of whichever engine's turn it is: seconds and completed jobs. There must be work."""
        role = self._next()
        swap = 0.0
        if self.take_turns and role != self.awake:
            put_away = self.engines[self.awake].serving.swap_seconds() if self.awake else 0.0
            swap = put_away + self.engines[role].serving.swap_seconds()
            self.awake = role
        seconds, done = self.engines[role].quantum()
        self.busy[role] += seconds
        self.busy["swaps"] += swap
        return swap + seconds, done

    def has_work(self) -> bool:
        return any(engine.has_work() for engine in self.engines.values())

    def _next(self) -> str:
        if self.take_turns and self.awake and self.engines[self.awake].has_work():
            return self.awake
        while not self.engines[self.order[0]].has_work():
            self.order.rotate(-1)
        role = self.order[0]
        self.order.rotate(-1)
        return role


def play(cards: list[Cards], cohorts: Iterator[Iterator[Job]], in_flight: int) -> Iterator[float]:
    """Run cohorts, `in_flight` at a time: each asks for one job, and for the next when that is done.

    Yields the time, in seconds, whenever a cohort has ended, before the next begins.
    """
    home = {role: place for place in cards for role in place.engines}
    asking: dict[Job, Iterator[Job]] = {}
    events: list[tuple[float, int]] = []
    finishing: dict[int, list[Job]] = {}

    def begin(place: Cards, now: float) -> None:
        if not place.working and place.has_work():
            seconds, done = place.quantum()
            place.working = True
            number = cards.index(place)
            finishing[number] = done
            heapq.heappush(events, (now + seconds, number))

    def ask(cohort: Iterator[Job], now: float) -> bool:
        """Put a cohort's next job to its engine; False where it has none."""
        if (job := next(cohort, None)) is None:
            return False
        asking[job] = cohort
        home[job.role].engines[job.role].waiting.append(job)
        begin(home[job.role], now)
        return True

    for cohort in itertools.islice(cohorts, in_flight):
        ask(cohort, 0.0)
    while events:
        now, number = heapq.heappop(events)
        cards[number].working = False
        for job in finishing.pop(number):
            if not ask(asking.pop(job), now):
                yield now
                if (cohort := next(cohorts, None)) is not None:
                    ask(cohort, now)
        begin(cards[number], now)
