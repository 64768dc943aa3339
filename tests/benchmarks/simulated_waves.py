"""The jobs that a cohort asks for, wave by wave, in each way of decoding; counts the tokens on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from simulated_engines import Job
from simulated_problems import Problems

BLOCK = 16
"""Tokens in a block of a prefix cache: what stands past the last whole one is computed again."""


@dataclass
class Meter:
    """What was asked for so far."""

    steps: int = 0
    """Steps that solutions have gained."""
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(role, `written` | `prefilled` | `cached`) to tokens."""


@dataclass(frozen=True)
class Caching:
    """Which roles find their prefixes again from wave to wave."""

    roles: frozenset[str]

    def job(self, role: str, context: np.ndarray, seen: np.ndarray, writes: np.ndarray, meter: Meter) -> Job:
        """Ask `role` to read `context` tokens, of which it read `seen` before, and to write on."""
        whole = np.minimum(seen, context - 1) // BLOCK * BLOCK if role in self.roles else np.zeros_like(context)
        meter.tokens[role, "written"] += int(writes.sum())
        meter.tokens[role, "prefilled"] += int((context - whole).sum())
        meter.tokens[role, "cached"] += int(whole.sum())
        return Job(role, context - whole, whole, writes)


def rsd(problems: Problems, first: int, count: int, caching: Caching, meter: Meter, part: float = 1.0) -> Iterator[Job]:
    """Waves of reward-guided speculative decoding over problems `first` to `first + count`: draft, PRM, target. Ends
    after the first `part` of the waves."""
    some = slice(first, first + count)
    drafts, targets, kept, steps = (a[some] for a in (problems.draft, problems.target, problems.kept, problems.steps))
    context = np.full(len(steps), round(problems.prompt))
    seen = {role: np.zeros_like(context) for role in ("draft", "prm", "target")}
    for wave in range(math.ceil(part * steps.max(initial=0))):
        live = np.flatnonzero(steps > wave)
        new, rewrite, good = drafts[live, wave], targets[live, wave], kept[live, wave]
        now = context[live]
        yield caching.job("draft", now, seen["draft"][live], new, meter)
        # the PRM reads a tag after each step
        yield caching.job("prm", now + new + wave + 1, seen["prm"][live], np.zeros_like(new), meter)
        seen["draft"][live] = now + np.where(good, new, 0)
        seen["prm"][live] = now + wave + np.where(good, new + 1, 0)
        bad = np.flatnonzero(~good)
        if len(bad):
            yield caching.job("target", now[bad], seen["target"][live[bad]], rewrite[bad], meter)
            seen["target"][live[bad]] = now[bad] + rewrite[bad]
        context[live] = now + np.where(good, new, rewrite)
        meter.steps += len(live)


def target_alone(problems: Problems, first: int, count: int, meter: Meter) -> Iterator[Job]:
    """The target writes whole solutions, as long as those of the other ways."""
    some = slice(first, first + count)
    writes = problems.chosen[some].sum(axis=1)
    prompt = np.full(len(writes), round(problems.prompt))
    yield Caching(frozenset()).job("target", prompt, np.zeros_like(prompt), writes, meter)
    meter.steps += int(problems.steps[some].sum())
