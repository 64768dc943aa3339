"""Runs that share engines: what these are planned for, and when they are started and stopped."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from schemas.config import Config
from tasks.generation.engine_pool import SharedEngines
from tasks.planning.plan import Plan, Seen, make_plan
from tasks.planning.shared import share_engines
from tasks.telemetry.metering import Meters

SERVED = [f"models.{role}.engine={{kind: vllm, max_model_len: 512}}" for role in ("draft", "target", "prm")]


@pytest.fixture
def plan(configured: Callable[..., Config], mixed: str) -> Callable[..., Plan]:
    seen = Seen()
    return lambda *changes: make_plan(configured(*changes, input=mixed), seen=seen)


def test_engines_are_those_of_one_run_with_all_roles(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    rsd, target = plan(*SERVED, "decoding.max_tokens=100"), plan(*SERVED, "decoding.method=target")
    alone = {role: of_role.engine for role, of_role in rsd.roles.items()}
    shared, of_target = share_engines([rsd, target])
    assert list(shared.roles) == ["draft", "target", "prm"]
    assert list(of_target.roles) == ["target"]
    assert of_target.roles["target"].engine == shared.roles["target"].engine
    assert shared.roles["draft"].engine.environment == alone["draft"].environment
    assert shared.roles["target"].engine.environment != target.roles["target"].engine.environment, "cores are shared"
    # caches are for the longest solutions
    long = plan(*SERVED, "decoding.max_tokens=400")
    for role, of_role in share_engines([rsd, long])[0].roles.items():
        assert of_role.engine == long.roles[role].engine
    assert share_engines([rsd])[0].roles == rsd.roles


def test_what_is_known_is_not_looked_at_again(plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan()
    monkeypatch.setattr("tasks.planning.plan.inspect", None)
    monkeypatch.setattr("tasks.planning.plan.survey", None)
    again = plan("decoding.seed=3")
    assert again.survey is first.survey
    assert again.roles["draft"].vocabulary is first.roles["draft"].vocabulary


def test_what_is_known_of_one_reward_model_is_not_taken_for_another_s(plan: Callable[..., Plan]) -> None:
    usual = plan()
    other = plan("models.prm.engine.max_model_len=51")
    judge = plan(*JUDGED)
    confident = plan("models.prm={format: confidence}")
    assert other.survey.usable < usual.survey.usable, "what is too long for it"
    assert judge.roles["prm"].checkpoint == judge.roles["target"].checkpoint != usual.roles["prm"].checkpoint
    assert {type(of.format).__name__ for of in (usual, judge)} == {"QwenFormat", "JudgeFormat"}
    assert all(of.roles["draft"].vocabulary is usual.roles["draft"].vocabulary for of in (other, judge, confident))
    assert plan("decoding.seed=3").survey is usual.survey


def test_engines_are_for_the_reward_model_that_is_asked(plan: Callable[..., Plan]) -> None:
    """Whichever stands in the configuration of a run that asks none, though that be the larger one."""
    alone, judged = share_engines(
        [plan("decoding.method=target", "decoding.samples=3", "decoding.temperature=1"), plan(*JUDGED)]
    )
    assert [spec.role for spec in judged.engines] == ["draft", "target"]
    assert judged.roles["prm"].engine == judged.roles["target"].engine == alone.roles["target"].engine


async def test_engines_start_once_and_are_metered_to_who_has_them(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.engines import KINDS

    started: list[str] = []
    usual = KINDS["scripted"].open_engine

    async def counted(spec: Any, *rest: Any) -> Any:
        started.append(spec.role)
        return await usual(spec, *rest)

    monkeypatch.setitem(KINDS, "scripted", replace(KINDS["scripted"], open_engine=counted))
    plans = [plan("decoding.method=target"), plan()]
    first, second = (Meters(itertools.count(0, 1_000_000).__next__) for _ in range(2))
    async with SharedEngines(share_engines(plans), print, print) as shared:
        assert not started, "nobody has work yet"
        engines, _ = await shared.of(plans[0], first)
        assert list(engines) == ["target"]
        assert sorted(started) == ["draft", "prm", "target"]
        engines["target"].engine.reset_prefix_cache = reset = AsyncMock()
        assert (await shared.of(plans[0], first))[0]["target"] is engines["target"]
        assert not reset.await_count, "the same run goes on"
        again, seconds = await shared.of(plans[1], second)
        assert reset.await_count == 1, "what one run cached must not make another cheaper"
        assert again["target"] is engines["target"]
        assert seconds == 0
        assert len(started) == 3
        engines["target"].engine.kill("test")
        await again["target"]._living()
    assert started[3:] == ["target"]
    assert list(first.accounts()["roles"]) == ["target"], "the others are not that run's"
    roles = second.accounts()["roles"]
    assert set(roles) == {"draft", "target", "prm"}
    assert roles["draft"]["ready"] > 0
    assert len(second.drawn()["target"]["starts"][0]) == 1
    assert second.drawn()["draft"]["starts"] == []
    assert again["target"].engine is None, "closed with the block"


JUDGED = ["models.prm={same_as: target, format: judge}", "decoding.temperature=0.7"]
BEST_OF = [*JUDGED, "decoding.method=best_of_n", "decoding.samples=2", "decoding.writer=draft"]


async def test_a_judge_in_an_engine_of_another_role_is_its_run_s_as_well(plan: Callable[..., Plan]) -> None:
    """Where a run asks the PRM that lives with the target, and no target."""
    plans = share_engines([plan(*JUDGED), plan(*BEST_OF)])
    assert [spec.role for spec in plans[1].engines] == ["draft", "target"]
    before, meters = (Meters(itertools.count(0, 1_000_000).__next__) for _ in range(2))
    async with SharedEngines(plans, print, print) as shared:
        await shared.of(plans[0], before)
        assert shared.engines is not None
        target = shared.engines["target"]
        target.engine.reset_prefix_cache = reset = AsyncMock()
        engines, _ = await shared.of(plans[1], meters)
        assert reset.await_count == 1
        assert engines["prm"] is target
        target.engine.kill("test")
        await target._living()
    assert list(meters.accounts()["roles"]) == ["draft", "prm"]
    assert len(meters.drawn()["prm"]["starts"][0]) == 1


def test_the_cache_of_such_an_engine_bounds_what_is_in_flight(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    _, best_of = share_engines([plan(*SERVED[:2], *JUDGED), plan(*SERVED[:2], *BEST_OF)])
    target = best_of.roles["prm"].share
    assert target is not None
    small = replace(target, tokens=2000)
    roomy = replace(target, tokens=9_000_000)
    roles = best_of.roles
    shares = {"draft": replace(roles["draft"], share=roomy), "prm": replace(roles["prm"], share=small)}
    flight = replace(best_of, roles=shares).flight
    assert (flight.binds, flight.room) == ("prm", 2000), "it holds nothing of the draft's for this run"


def test_engines_are_asked_for_confidence_where_any_run_asks(plan: Callable[..., Plan]) -> None:
    alone = plan("decoding.method=target")
    rewarded = plan("models.prm={format: confidence}")
    assert not any(spec.asks_confidence for spec in alone.engines)
    assert all(spec.asks_confidence for of_run in share_engines([alone, rewarded]) for spec in of_run.engines)
