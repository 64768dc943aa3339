"""One engine's continuous batch: which tokens the next iteration computes, and what it ends.

It schedules as vLLM does. Everything that writes gets a token an iteration; what is left of the iteration's tokens goes
to prompts, in the order in which they came, cut where they do not fit (chunked prefill). A request is let in when its
turn comes and the cache has room for all of it, answer included: lengths are known here, so that nothing is ever put
back. The iteration that reads the end of a prompt also gives the first token, or the reward.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from tasks.engines.emulated.prefix_cache import Lease, PrefixCache
from tasks.engines.emulated.roofline import Roofline


class Job:
    """A request under way."""

    __slots__ = ("done", "ends", "keys", "lease", "offset", "over", "prompt", "read", "writes")

    def __init__(self, keys: list[int], prompt: int, writes: int, done: Callable[[Job], None]) -> None:
        """`keys`: of its whole blocks in the cache. `prompt`, `writes`: tokens; it writes none where it is only read.
        `done` is called when it has ended."""
        self.keys, self.prompt, self.writes, self.done = keys, prompt, writes, done
        self.lease: Lease | None = None
        self.read = 0
        """Tokens of the prompt that are in the cache."""
        self.ends: int | None = None
        """The engine's tick after which it has written all; None while it reads."""
        self.offset = 0
        """Tokens of its context, less the tick: constant while it writes."""
        self.over = False
        """Has it ended, or is it not wanted any more?"""

    @property
    def tokens(self) -> int:
        """Of its context at its end. The last token that is written is never read."""
        return self.prompt + max(self.writes - 1, 0)

    @property
    def cached(self) -> int:
        """Tokens of its prompt that it did not have to compute."""
        return self.lease.found + self.lease.loaded if self.lease else 0


class Counters:
    """What an engine did so far."""

    def __init__(self) -> None:
        self.iterations = self.written = self.read = self.found = self.loaded = 0
        """Iterations; tokens written, computed of prompts, found in the cache, fetched from the host."""


class Batch:
    """The requests of one engine. Times are seconds of the emulation."""

    def __init__(self, costs: Roofline, cache: PrefixCache, sequences: int, tokens: int) -> None:
        """`sequences`, `tokens`: most in an iteration."""
        self.costs, self.cache, self.sequences, self.most = costs, cache, sequences, tokens
        self.count = Counters()
        self.waiting: deque[tuple[float, Job]] = deque()
        """With the time at which each came."""
        self.loading: deque[tuple[float, Job]] = deque()
        """With the time at which each has come from the host."""
        self.link_free = 0.0
        self.reading: list[Job] = []
        self.chunks: list[tuple[Job, int]] = []
        """Tokens of prompts in the present iteration."""
        self.writing = 0
        self.offsets = 0
        """Sum over those that write."""
        self.tick = 0
        """Iterations in which something was written."""
        self.ends: dict[int, list[Job]] = {}

    def ask(self, now: float, jobs: Iterable[Job]) -> None:
        """Requests come."""
        self.waiting.extend((now, job) for job in jobs)

    def fits(self, job: Job) -> bool:
        """Has the cache room for it, if it is empty?"""
        return self.cache.blocks_of(job.tokens) <= self.cache.room

    def begin(self, now: float) -> float | None:
        """Begin an iteration; returns its seconds, or None where nothing can be computed now."""
        while self.loading and self.loading[0][0] <= now:
            self.reading.append(self.loading.popleft()[1])
        budget, context = self.most - self.writing, self.offsets + self.writing * self.tick
        self.chunks = []
        for job in self.reading:
            if not budget:
                break
            budget -= self._chunk(job, budget)
        while budget and self.waiting and self.waiting[0][0] <= now and self._sequences() < self.sequences:
            job = self.waiting[0][1]
            if not job.over:
                job.lease = self.cache.take(job.keys, job.prompt, job.tokens)
                if job.lease is None:
                    break
                self.count.found += job.lease.found
                self.count.loaded += job.lease.loaded
                job.read = job.cached
                if job.lease.loaded:
                    self.link_free = max(now, self.link_free) + self.costs.load_seconds(job.lease.loaded)
                    self.loading.append((self.link_free, job))
                else:
                    self.reading.append(job)
                    budget -= self._chunk(job, budget)
            self.waiting.popleft()
        read = sum(tokens for _, tokens in self.chunks)
        if not self.writing + read:
            return None
        context += sum(job.read + tokens for job, tokens in self.chunks)
        self.count.iterations += 1
        self.count.read += read
        return self.costs.seconds(self.writing + read, context)

    def end(self) -> list[Job]:
        """The iteration ends; returns the requests that end with it."""
        ended: list[Job] = []
        if self.writing:
            self.tick += 1
            self.count.written += self.writing
            ended = self.ends.pop(self.tick, [])
            self.writing -= len(ended)
            self.offsets -= sum(job.offset for job in ended)
        for job, tokens in self.chunks:
            job.read += tokens
            if job.over or job.read < job.prompt:
                continue
            self.count.written += job.writes > 0
            if job.writes > 1:
                self._write(job)
            else:
                ended.append(job)
        if self.chunks:
            self.reading = [job for job in self.reading if job.read < job.prompt]
            self.chunks = []
        for job in ended:
            self._let_go(job)
        return ended

    def later(self, now: float) -> float | None:
        """When to begin again, where nothing could be computed now: as soon as a prefix has come from the host, or a
        request comes that is known already. None: when something is asked."""
        times = [self.loading[0][0]] if self.loading else []
        if self.waiting and self.waiting[0][0] > now:
            times.append(self.waiting[0][0])
        return min(times, default=None)

    def drop(self, job: Job) -> None:
        """A request is not wanted any more."""
        if job.over:
            return
        if job.lease is None:  # it waits, and is passed over when its turn comes
            job.over = True
            return
        if job.ends is not None:
            self.ends[job.ends].remove(job)
            self.writing -= 1
            self.offsets -= job.offset
        else:
            self.reading = [other for other in self.reading if other is not job]
            self.loading = deque((at, other) for at, other in self.loading if other is not job)
        self._let_go(job)

    def _sequences(self) -> int:
        return self.writing + len(self.reading) + len(self.loading)

    def _chunk(self, job: Job, budget: int) -> int:
        tokens = min(budget, job.prompt - job.read)
        self.chunks.append((job, tokens))
        return tokens

    def _write(self, job: Job) -> None:
        """It has its first token, and goes on writing."""
        job.ends = self.tick + job.writes - 1
        job.offset = job.prompt + 1 - self.tick
        self.ends.setdefault(job.ends, []).append(job)
        self.writing += 1
        self.offsets += job.offset

    def _let_go(self, job: Job) -> None:
        assert job.lease is not None
        job.over = True
        self.cache.give_back(job.lease)
