"""Runs of a job on simulated cards: layouts, what their memory holds, and what a steady state of them comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from simulated_devices import Gpu, Serving
from simulated_engines import Cards, Engine, Job, play
from simulated_problems import Problems
from simulated_waves import Caching, Meter, rsd, target_alone

OVERHEAD = 2 << 30
"""Bytes of a card that an engine takes beside weights and cache."""


@dataclass(frozen=True)
class Layout:
    """Where the engines stand: `copies` of the same set of cards, over which the problems are spread."""

    name: str
    servings: dict[str, Serving]
    shared: bool = False
    """Do all engines stand on all cards of the set?"""
    turns: bool = False
    """Is only one of them awake at a time? Caches are lost in between."""
    copies: int = 1
    target_part: float | None = None
    """Part of the memory for caches that the target's gets, where engines share cards (None: all hold equally many
    tokens)."""
    host_memory: float = 0.0
    """Bytes of the host's memory that hold prefixes for which a set's cards have no room."""

    @property
    def cards(self) -> int:
        sizes = [serving.cards for serving in self.servings.values()]
        return self.copies * (max(sizes) if self.shared else sum(sizes))

    def cache_tokens(self, gpu: Gpu) -> dict[str, float]:
        """Role to the tokens that its cache holds; 0 where the weights do not fit."""
        taken = {role: OVERHEAD + s.weights_a_card for role, s in self.servings.items()}
        if not self.shared or self.turns:
            return {role: s.cache_tokens(gpu.memory - taken[role]) for role, s in self.servings.items()}
        left = gpu.memory - sum(taken.values())
        target = {"target": self.servings["target"]}
        if self.target_part is None:
            return _equally(left, self.servings)
        others = {role: s for role, s in self.servings.items() if role != "target"}
        return _equally(left * (1 - self.target_part), others) | _equally(left * self.target_part, target)


def _equally(memory: float, servings: dict[str, Serving]) -> dict[str, float]:
    """Tokens of each role's cache where `memory` of every card is divided so that all hold equally many."""
    tokens = memory / sum(s.model.kv_bytes / s.cards for s in servings.values())
    return dict.fromkeys(servings, max(0.0, tokens))


@dataclass(frozen=True)
class Outcome:
    """What a job comes to on a layout."""

    layout: Layout
    size: int
    in_flight: int
    caching: frozenset[str]
    """Roles that find their prefixes again."""
    wall: float
    """Seconds."""
    busy: dict[str, float]
    """Role to card-seconds at work; `swaps`: those of putting weights away and fetching them."""
    tokens: dict[tuple[str, str], float]
    """(role, `written` | `prefilled` | `cached`) to tokens."""

    @property
    def gpu_hours(self) -> float:
        return self.layout.cards * self.wall / 3600

    def share_busy(self, role: str) -> float:
        """Part of the time of its cards that a role is at work."""
        cards = self.layout.copies * self.layout.servings[role].cards
        return self.busy[role] / (cards * self.wall)


def simulate(
    layout: Layout,
    gpu: Gpu,
    problems: Problems,
    job: int,
    size: int,
    in_flight: int,
    *,
    sequences: int,
    recompute: frozenset[str] = frozenset(),
) -> Outcome | None:
    """What `job` problems come to in cohorts of `size`, `in_flight` of them at a time in each copy of the layout; None
    where its cards do not hold it.

    Three rounds of cohorts are played, for which `problems` must be enough, and what happens between the end of the
    first and the beginning of the last one's last cohort is scaled up to the job. The first round's are cut short, each
    less than the one before, so that the others are at different waves as in a long run. A single cohort at a time is
    played once, whole.

    A role finds its prefixes again where its cache, or the host's memory, holds the contexts of all that are live, and
    not at all where it does not: in turns over more than it holds, a cache that drops the oldest has always just
    dropped what is needed next. `recompute`: roles that never find them. `sequences`: most in one batch of a replica.
    Where the target stands alone it writes whole solutions.
    """
    room = layout.cache_tokens(gpu)
    if min(room.values()) < problems.mean_context:
        return None
    flying = problems.held(size, in_flight)
    holds = frozenset(role for role, tokens in room.items() if tokens >= flying and not layout.turns) - recompute
    moved = frozenset(room) - holds - recompute
    if flying * sum(layout.servings[role].model.kv_bytes for role in moved) > layout.host_memory:
        moved = frozenset()
    engines = {
        role: Engine(s, min(sequences * s.replicas, int(room[role] / problems.mean_context)), role in moved)
        for role, s in layout.servings.items()
    }
    places = (
        [Cards(engines, layout.turns)] if layout.shared else [Cards({role: engine}) for role, engine in engines.items()]
    )
    meter, caching = Meter(), Caching(holds | moved)
    rounds = 1 if in_flight == 1 else 3
    count = rounds * in_flight
    assert len(problems) >= count * size, f"{len(problems)} problems are too few for {count} cohorts of {size}"

    def cohorts() -> Iterator[Iterator[Job]]:
        for number in range(count):
            if set(layout.servings) == {"target"}:
                yield target_alone(problems, number * size, size, meter)
            else:
                part = min(1.0, (number + 1) / in_flight)
                yield rsd(problems, number * size, size, caching, meter, part)

    marks = [_Mark(0.0, 0, Counter(), Counter())]
    for now in play(places, cohorts(), in_flight):
        marks.append(_Mark(now, meter.steps, _busy(places), Counter(meter.tokens)))
    first, last = (marks[0], marks[-1]) if in_flight == 1 else (marks[in_flight], marks[count - in_flight])
    scale = job * float(problems.steps.mean()) / (last.steps - first.steps)
    cards = {role: s.cards for role, s in layout.servings.items()} | {"swaps": layout.cards // layout.copies}
    return Outcome(
        layout,
        size,
        in_flight,
        holds | moved,
        scale * (last.now - first.now) / layout.copies,
        {role: scale * cards[role] * (last.busy[role] - first.busy[role]) for role in cards},
        {key: scale * (last.tokens[key] - first.tokens[key]) for key in last.tokens},
    )


@dataclass(frozen=True)
class _Mark:
    """Counters at a moment."""

    now: float
    steps: int
    busy: Counter[str]
    tokens: Counter[tuple[str, str]]


def _busy(places: list[Cards]) -> Counter[str]:
    return sum((place.busy for place in places), Counter())


def quickest(outcomes: Iterable[Outcome | None]) -> Outcome | None:
    """The one of the least wall time among those that fit."""
    found = [outcome for outcome in outcomes if outcome is not None]
    return min(found, key=lambda outcome: outcome.wall) if found else None
