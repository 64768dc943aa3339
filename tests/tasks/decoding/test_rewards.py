"""What is no number from 0 to 1 is no reward, whoever gives it: it costs its row and nothing else."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import DecodingConfig
from schemas.methods import METHODS
from tasks.decoding import DECODERS
from tasks.decoding.decode import advance
from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.rewards import ENOUGH, Trial, reward_of
from tasks.decoding.sweep import Memory, RememberingModels
from tasks.decoding.trajectory import Context, Failure, Trajectory
from tasks.errors import UserError

from .fakes import GRID, FakeScorer, FakeWriter
from .worlds import Row, World, changed, examples, run, solutions_rows, steps_rows, worlds

NONE = [math.nan, -math.nan, math.inf, -math.inf, 1e308, -1e308, -0.01, 1.01, 2.0, -9999.0, float(np.float16(65504))]
ROUNDED = [1.0000001, -1e-9, 5e-324, -0.0, float(np.nextafter(np.float32(1), np.float32(2)))]
SCORED = [method for method, record in METHODS.items() if "prm" in record.roles]


@pytest.mark.parametrize("figure", NONE)
def test_it_is_none(figure: float) -> None:
    assert reward_of(figure) is None


@pytest.mark.parametrize("figure", [*ROUNDED, *GRID, 0, 1])
def test_rounding_costs_nothing(figure: float) -> None:
    reward = reward_of(figure)
    assert reward is not None
    assert 0 <= reward <= 1
    assert reward == float(np.float32(reward)) == pytest.approx(figure, abs=1e-6)


class Odd:
    """Gives figures that are rewards, or rounded ones, or none, by what it is asked."""

    def __init__(self, rate: float, rounded: float = 0.05) -> None:
        self.rate, self.rounded = rate, rounded
        self.none = 0
        """Figures given that are none."""

    def __call__(self, figure: float, asked: object) -> float:
        draw = random.Random(repr(asked))
        if draw.random() < self.rate:
            self.none += 1
            return draw.choice(NONE)
        return draw.choice(ROUNDED) if draw.random() < self.rounded else figure


class OddScorer(FakeScorer):
    odd: Odd

    async def ask(self, looks: Sequence[ScoreRequest], answered: Any = None) -> list[Scored | Failure]:
        results = await super().ask(looks)
        assert all(isinstance(r, Scored) for r in results)
        return [Scored(self.odd(r.reward, look.prompt)) for r, look in zip(results, looks, strict=True)]  # type: ignore[union-attr]


class OddWriter(FakeWriter):
    """Tells its confidence."""

    odd: Odd

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure]:
        results = await super().ask(asks)
        return [
            replace(r, confidence=self.odd(random.Random(a.seed).choice(GRID), (a.prompt, a.seed)))  # type: ignore[type-var]
            for r, a in zip(results, asks, strict=True)
        ]


def rewarding(world: World, odd: Odd, by: str) -> Models:
    models = world.models()
    if by == "prm":
        scorer = OddScorer()
        scorer.odd = odd
        assert models.prm is not None
        return changed(models, prm=RewardModel(scorer, models.prm.format, "models/judge"))
    writers = {}
    for role in models.writers:
        writer = OddWriter(role, world.vocabulary(role), world.eos_rate, seeds=world.seeds)
        writer.odd = odd
        writers[role] = LanguageModel(writer, world.vocabulary(role), f"models/{role}")
    return changed(models, writers=writers, prm=None, sampling=replace(models.sampling, confidence="mean"))


def begun(world: World, by: str) -> list[Trajectory]:
    trajectories = world.trajectories()
    if by == "prm":
        return trajectories
    begin = DECODERS[world.settings.method].begin
    roles = [role for role in world.roles if role != "prm"]
    return [
        begin(t.problem_id, t.sample, {r: Context.of(world.prompt(r, t.problem_id)) for r in roles}, world.settings)
        for t in trajectories
    ]


def decoded(world: World, models: Models, trajectories: list[Trajectory]) -> list[Trajectory]:
    async def follow(t: Trajectory) -> None:
        while await advance(t, models, world.settings):
            pass

    async def every() -> None:
        await asyncio.gather(*map(follow, trajectories))

    asyncio.run(every())
    return trajectories


def figures(rows: list[Row]) -> list[float]:
    return [value for row in rows for value in row.values() if isinstance(value, float)]


@examples(250)
@given(worlds(methods=SCORED), st.sampled_from(["prm", "writers"]), st.sampled_from([0.02, 0.1, 0.5, 1.0]))
def test_rows_fail_exactly_where_a_score_that_they_needed_is_none(world: World, by: str, rate: float) -> None:
    together = decoded(world, rewarding(world, Odd(rate), by), begun(world, by))
    expected, names = [], {f"models/{name}" for name in ("judge", "draft", "target")}
    for number in range(len(together)):
        odd = Odd(rate)
        (alone,) = decoded(world, rewarding(world, odd, by), [begun(world, by)[number]])
        assert (alone.status == "failed") == (odd.none > 0)
        assert (alone.error is not None) == (odd.none > 0)
        assert alone.error is None or any(f"{name} gave " in alone.error for name in names)
        expected.append((alone.status, alone.error, steps_rows([alone], "prm_tokens")))
    # which of several that are none is told, or was asked before a row failed, is the same in any company
    assert [(t.status, t.error, steps_rows([t], "prm_tokens")) for t in together] == expected
    solutions = solutions_rows(world, together)
    keys = [(row["problem_id"], row["sample"]) for row in solutions]
    assert sorted(keys) == sorted((p, n) for p in world.problems for n in range(world.settings.samples))
    steps = steps_rows(together)
    assert all(map(math.isfinite, figures(steps) + figures(solutions)))
    assert all(0 <= row["reward"] <= 1 for row in steps if row["reward"] is not None)


@examples(60)
@given(worlds(methods=SCORED, samples=2))
def test_the_others_are_what_they_are_with_a_model_that_gives_rewards_alone(world: World) -> None:
    touched = decoded(world, rewarding(world, Odd(0.1, rounded=0.0), "prm"), world.trajectories())
    for one, other in zip(touched, run(world), strict=True):
        if one.status != "failed":
            assert (one.status, steps_rows([one])) == (other.status, steps_rows([other]))


# --- a model that gives nothing else


class Asked:
    """Gives a figure by the problem that is asked about and by how often it was asked; counts requests."""

    def __init__(self, figure: Callable[[int, int], float]) -> None:
        self.figure, self.requests = figure, 0

    async def ask(self, looks: Sequence[ScoreRequest], answered: Any = None) -> list[Scored | Failure]:
        found: list[Scored | Failure] = []
        for look in looks:
            self.requests += 1
            found.append(Scored(self.figure(look.prompt[0] - 1000, self.requests)))
        return found


def many(problems: int, **decoding: Any) -> World:
    usual = {"method": "process_best_of_n", "max_steps": 3, "max_tokens": 60}
    return World(
        problems={f"p{n}": "a" for n in range(problems)},
        settings=DecodingConfig.model_validate(usual | decoding),
        windows=dict.fromkeys(("draft", "target", "prm"), 500),
        vocabularies=dict.fromkeys(("draft", "target", "prm"), "bytes"),
        eos_rate=0.02,
        failure_rate=0.0,
    )


def scored_by(world: World, scorer: Any, trial: Trial | None = None) -> Models:
    models = world.models()
    assert models.prm is not None
    return changed(models, prm=RewardModel(scorer, models.prm.format, "models/judge"), trial=trial or Trial())


def one_by_one(world: World, models: Models) -> list[Trajectory]:
    """Every problem after the others."""
    return [t for one in world.trajectories() for t in decoded(world, models, [one])]


@pytest.mark.parametrize("figure", [math.nan, math.inf, -5.0, 17.25])
def test_it_ends_the_run_and_says_so(figure: float) -> None:
    world, scorer = many(100), Asked(lambda problem, request: figure)
    with pytest.raises(UserError) as told:
        one_by_one(world, scored_by(world, scorer))
    assert scorer.requests == ENOUGH < 100
    assert str(told.value).startswith("models.prm: models/judge gives no rewards")
    assert f"such as {figure:g} where" in str(told.value)


def test_a_writer_that_is_never_sure_ends_it_as_well() -> None:
    world = many(40, method="rsd")
    models = rewarding(world, Odd(1.0), "writers")
    with pytest.raises(UserError, match=r"^models\.draft\.model: models/draft gives no rewards"):
        decoded(world, models, begun(world, "writers"))


@pytest.mark.parametrize("good", [0, ENOUGH - 2, ENOUGH - 1, 39])
def test_one_that_gives_a_reward_goes_on(good: int) -> None:
    """Be it that of the last in a batch, or one problem before too many."""
    world, scorer = many(40), Asked(lambda problem, request: 0.5 if problem == good else math.nan)
    for trajectories in (
        decoded(world, scored_by(world, scorer), world.trajectories()),
        one_by_one(world, scored_by(world, scorer)) if good < ENOUGH else [],
    ):
        assert [n for n, t in enumerate(trajectories) if t.status != "failed"] == [good][: len(trajectories)]


def test_few_problems_prove_nothing_however_often_they_are_tried() -> None:
    world = many(ENOUGH - 1, samples=20)
    trajectories = decoded(world, scored_by(world, Asked(lambda problem, n: math.nan)), world.trajectories())
    assert {t.status for t in trajectories} == {"failed"}
    assert len(trajectories) == 20 * (ENOUGH - 1)


def test_where_several_share_what_is_made_they_share_what_they_know_of_it() -> None:
    """Each of them asks for a part of the problems."""
    memory, world = Memory(alike=True), many(ENOUGH)
    scorer = Asked(lambda problem, n: math.nan)
    parts = [RememberingModels(scored_by(world, scorer), memory) for _ in range(4)]
    every = world.trajectories()
    for number, models in enumerate(parts[:3]):
        decoded(world, models, every[number::4])
    with pytest.raises(UserError, match="gives no rewards"):
        decoded(world, parts[3], every[3::4])
    assert scorer.requests == ENOUGH


def test_what_is_left_of_a_run_that_had_rewards_may_have_none() -> None:
    """As rows that failed, and are tried again."""
    world, trial, memory = many(40), Trial(), Memory(alike=True)
    trial.note([None, 0.5])
    assert {t.status for t in one_by_one(world, scored_by(world, Asked(lambda *_: math.nan), trial))} == {"failed"}
    memory.learn(run(many(1)))
    models = RememberingModels(scored_by(world, Asked(lambda *_: math.nan)), memory)
    assert sum(t.status == "failed" for t in one_by_one(world, models)) >= 39
