"""Small runs: problems, fake models, settings and limits, drawn at random; and how to decode them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from schemas.config import DecodingConfig
from schemas.methods import METHODS
from tasks.decoding import DECODERS
from tasks.decoding.decode import advance
from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.decoding.trajectory import Context, Limits, Trajectory
from tasks.generation.tables import solutions_table, steps_table
from tasks.grading import Grade
from tasks.problems.reader import Problem

from .fakes import ALPHABET, VOCABULARIES, FakeFormat, FakeScorer, FakeVocabulary, FakeWriter

RUN_ID, SHARD = "run", 3
ONE_WAY = tuple(method for method in METHODS if method != "beam")
"""Methods whose trajectories go one way."""
PARAMS = {"draft": 3.0, "target": 50.0, "prm": 7.0}
Row = dict[str, Any]
Split = list[list[int]]
"""Groups, each a list of indices of trajectories."""


def examples(count: int) -> settings:
    """So many examples, the same ones every time."""
    return settings(max_examples=count, deadline=None, derandomize=True)


@dataclass(frozen=True)
class World:
    problems: dict[str, str]
    """problem_id to text."""
    settings: DecodingConfig
    windows: dict[str, int]
    vocabularies: dict[str, str]
    """Role to key of its vocabulary."""
    eos_rate: float
    failure_rate: float
    seeds: int = 2**63
    """How many seeds writers tell apart: few, and candidates are equal."""
    chatty: bool = False
    """Has the PRM's format more than a tag?"""

    @property
    def roles(self) -> tuple[str, ...]:
        return self.settings.roles

    def vocabulary(self, role: str) -> FakeVocabulary:
        return VOCABULARIES[self.vocabularies[role]]

    def prompt(self, role: str, problem_id: str) -> list[int]:
        """Begins with an id of this problem's own."""
        own = 1000 + list(self.problems).index(problem_id)
        return [own, *self.vocabulary(role).encode(self.problems[problem_id])]

    def writer(self, role: str) -> FakeWriter:
        return FakeWriter(role, self.vocabulary(role), self.eos_rate, self.failure_rate, self.seeds)

    def scorer(self) -> FakeScorer:
        return FakeScorer(self.failure_rate)

    def format(self) -> FakeFormat:
        return FakeFormat(self.vocabulary("prm"), self.chatty)

    def models(self, engines: Mapping[str, Any] | None = None) -> Models:
        """With engines of their own, so that what they were asked is this run's, or those given by role."""
        given = engines or {}
        return Models(
            writers={
                r: LanguageModel(given.get(r) or self.writer(r), self.vocabulary(r)) for r in self.roles if r != "prm"
            },
            prm=RewardModel(given.get("prm") or self.scorer(), self.format()) if "prm" in self.roles else None,
            limits=Limits(
                self.settings.max_steps,
                self.settings.max_tokens,
                {role: self.windows[role] for role in self.roles},
                tag_tokens=self.format().tag_tokens if "prm" in self.roles else 0,
            ),
            seed=self.settings.seed,
        )

    def trajectories(self) -> list[Trajectory]:
        begin = DECODERS[self.settings.method].begin
        return [
            begin(p, sample, {role: Context.of(self.prompt(role, p)) for role in self.roles}, self.settings)
            for p in self.problems
            for sample in range(self.settings.samples)
        ]


RULES = st.one_of(
    st.builds(lambda p: {"rule": "constant", "probability": p}, st.floats(0, 1)),
    st.builds(lambda k: {"rule": "threshold", "threshold": k / 10}, st.integers(0, 10)),
    st.sampled_from([{"rule": "clip"}, {"rule": "sigmoidal"}]),
    st.builds(
        lambda d, alpha: {"rule": "logistic", "threshold": d, "alpha": alpha}, st.floats(0, 1), st.floats(0.1, 50)
    ),
)


@st.composite
def worlds(
    draw: st.DrawFn,
    *,
    methods: Iterable[str] = ("rsd", "rsd", "beam", *METHODS),
    samples: int = 3,
    candidates: int = 3,
    failures: bool = False,
) -> World:
    """`samples`, `candidates`: most samples of a problem and candidates for a step. `failures`: may engines refuse
    some prompts."""
    roles = ("draft", "target", "prm")
    ids = draw(st.lists(st.text("ab1\x1f", max_size=3), min_size=1, max_size=4, unique=True))
    windows = {role: draw(st.sampled_from([500, 500, 500, 60, 25, 12, 7, 3])) for role in roles}
    decoding = {
        "method": draw(st.sampled_from(list(methods))),
        "samples": draw(st.integers(1, samples)),
        "candidates": draw(st.integers(1, candidates)),
        "beams": draw(st.integers(1, 3)),
        "writer": draw(st.sampled_from(["draft", "target"])),
        "seed": draw(st.integers(0, 2**40)),
        "max_steps": draw(st.integers(1, 8)),
        "max_tokens": draw(st.one_of(st.just(400), st.integers(1, 60))),
        "accept": draw(RULES),
    }
    return World(
        problems={i: draw(st.text(ALPHABET, max_size=4)) for i in ids},
        settings=DecodingConfig.model_validate(decoding),
        windows=windows,
        vocabularies={role: draw(st.sampled_from(sorted(VOCABULARIES))) for role in roles},
        eos_rate=draw(st.sampled_from([0.0, 0.02, 0.05])),
        failure_rate=draw(st.sampled_from([0.0, 0.05])) if failures else 0.0,
        seeds=draw(st.sampled_from([2**63, 2**63, 2])),
        chatty=draw(st.booleans()),
    )


@st.composite
def splits(draw: st.DrawFn, world: World) -> Split:
    """The trajectories in any order, cut into groups anywhere."""
    count = len(world.problems) * world.settings.samples
    order = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1)))) if count > 1 else []
    return [list(order[a:b]) for a, b in zip([0, *cuts], [*cuts, count], strict=True)]


def run(world: World, models: Models | None = None, split: Split | None = None) -> list[Trajectory]:
    """Decode to the end; groups start one after another, by default all trajectories at the same time."""
    trajectories = world.trajectories()
    groups = [[trajectories[i] for i in part] for part in split] if split else [trajectories]
    shared = models or world.models()

    async def one(trajectory: Trajectory, late: int) -> None:
        for _ in range(late):
            await asyncio.sleep(0)
        while await advance(trajectory, shared, world.settings):
            pass

    async def every() -> None:
        await asyncio.gather(*(one(t, 3 * n) for n, group in enumerate(groups) for t in group))

    asyncio.run(every())
    return trajectories


def changed(models: Models, **parts: Any) -> Models:
    """Models with other parts."""
    names = ("writers", "prm", "limits", "seed", "sampling", "trial")
    return Models(**{name: getattr(models, name) for name in names} | parts)


def steps_rows(trajectories: list[Trajectory], *without: str) -> list[Row]:
    """Rows of the steps table, less the columns that are the same everywhere and those named."""
    table = steps_table(RUN_ID, SHARD, trajectories)
    return table.drop_columns(["run_id", "shard", *without]).to_pylist()


def gained(trajectories: list[Trajectory], kept: dict[Trajectory, int]) -> list[Row]:
    """Rows of a checkpoint: the attempts that were added to `kept`, which counts them from here on."""
    table = steps_table(RUN_ID, SHARD, trajectories, {t: (kept[t], len(t.attempts)) for t in trajectories})
    kept |= {t: len(t.attempts) for t in trajectories}
    return table.to_pylist()


def solutions_rows(world: World, trajectories: list[Trajectory]) -> list[Row]:
    problems = {i: Problem(i, text, None, None, None) for i, text in world.problems.items()}
    grades = [Grade(None, None)] * len(trajectories)
    return solutions_table(RUN_ID, SHARD, problems, trajectories, grades, PARAMS).to_pylist()


def float32(value: float | None) -> float | None:
    """As a float32 column keeps it."""
    return None if value is None else float(np.float32(value))
