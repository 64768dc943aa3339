"""Runs that share engines: what these are planned for, and when they are started and stopped."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

from schemas.config import Config
from tasks.metering import Meters
from tasks.plan import Plan, Seen, make_plan, share_engines
from tasks.shared_engines import SharedEngines

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
    monkeypatch.setattr("tasks.plan.inspect", None)
    monkeypatch.setattr("tasks.plan.survey", None)
    again = plan("decoding.seed=3")
    assert again.survey is first.survey
    assert again.roles["draft"].vocabulary is first.roles["draft"].vocabulary


async def test_engines_start_once_and_are_metered_to_who_has_them(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.engines.scripted as scripted

    started: list[str] = []
    usual = scripted.open_engine

    async def counted(spec: Any, *rest: Any) -> Any:
        started.append(spec.role)
        return await usual(spec, *rest)

    monkeypatch.setattr(scripted, "open_engine", counted)
    plans = [plan("decoding.method=target"), plan()]
    first, second = (Meters(itertools.count(0, 1_000_000).__next__) for _ in range(2))
    async with SharedEngines(share_engines(plans), print, print) as shared:
        assert not started, "nobody has work yet"
        engines, _ = await shared.of(plans[0], first)
        assert list(engines) == ["target"]
        assert sorted(started) == ["draft", "prm", "target"]
        engines["target"].engine.forget = forget = AsyncMock()
        assert (await shared.of(plans[0], first))[0]["target"] is engines["target"]
        assert not forget.await_count, "the same run goes on"
        again, seconds = await shared.of(plans[1], second)
        assert forget.await_count == 1, "what one run cached must not make another cheaper"
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
