"""What a plan says of emulated cards is what it says of real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.check import check, lines
from schemas.config import Config
from tasks.engines.emulated.arguments import read_emulation
from tasks.errors import UserError
from tasks.planning.plan import Plan, make_plan

SIZES = {
    "draft": "params: 1.54e+9, engine: {kind: emulated, layers: 28, kv_bytes_per_token: 28672",
    "target": "params: 7.62e+9, engine: {kind: emulated, layers: 28, kv_bytes_per_token: 57344",
    "prm": "params: 7.08e+9, engine: {kind: emulated, layers: 28, kv_bytes_per_token: 57344",
}
GIB = 1 << 30
Emulated = Callable[..., Config]


@pytest.fixture
def emulated(configured: Callable[..., Config], problem_set: Callable[..., str], models: Path) -> Emulated:
    """A configuration of three models on cards, with more engine arguments by role, and changes of it."""

    def make(*changes: str, **more: str) -> Config:
        source = problem_set({"problem": [f"What is {n} + 1?" for n in range(2000)]})
        own = [
            f"models.{role}={{model: {models / role}, {size}, {more.get(role) or more.get('all') or 'card: H100'}}}}}"
            for role, size in SIZES.items()
        ]
        return configured(*own, *changes, "decoding.max_tokens=1024", input=source)

    return make


def caches(plan: Plan) -> dict[str, int | None]:
    return {role: of.share.tokens for role, of in plan.roles.items() if of.share}


def test_a_card_is_shared_as_a_real_one_is(emulated: Emulated) -> None:
    plan = make_plan(emulated())
    held = caches(plan)
    assert len(set(held.values())) == 1
    filled = sum(of.share.weights + (of.share.cache or 0) + 2 * GIB for of in plan.roles.values() if of.share)
    assert filled == pytest.approx(0.92 * 80 * GIB, rel=1e-5)
    assert plan.flight.binds is not None
    assert plan.flight.room == held["draft"]
    for role, of in plan.roles.items():
        emulation = read_emulation(role, of.engine.arguments | of.engine.replicas[0])
        assert emulation.cache_tokens == held[role]
        assert emulation.parameters == of.params == plan.config.model(role).params  # type: ignore[arg-type]
        assert emulation.weight_bytes == 2 * of.params
        assert emulation.device_ids == [0]


def test_check_tells_it(emulated: Emulated) -> None:
    report = check(emulated())
    text = "\n".join(lines(report))
    assert "on emulated H100 0: on each device weights 14.2 GiB, cache" in text
    assert "in flight" in text
    assert "holds" in text
    assert not report["warnings"]


def test_replicas_and_parts_have_cards_of_their_own(emulated: Emulated) -> None:
    plan = make_plan(
        emulated(
            draft="replicas: 2, device_ids: [4, 5]",
            target="tensor_parallel_size: 4, device_ids: [0, 1, 2, 3]",
            prm="card: A100, device_ids: [6]",
        )
    )
    draft, target = plan.roles["draft"], plan.roles["target"]
    assert [own["device_ids"] for own in draft.engine.replicas] == [[4], [5]]
    assert draft.share
    assert draft.share.tokens == 2 * draft.engine.replicas[0]["cache_tokens"]
    assert target.share
    assert target.share.device == "emulated H100 0,1,2,3"
    assert target.share.weights == 2 * 7_620_000_000 // 4
    assert plan.roles["prm"].share.device == "emulated A100 6"  # type: ignore[union-attr]


def test_a_cache_of_a_given_size_is_planned_for(emulated: Emulated) -> None:
    held = caches(make_plan(emulated(draft="cache_tokens: 50000")))
    assert held["draft"] == 50_000
    assert held["target"] == held["prm"] != 50_000


def test_sizes_that_are_not_given_are_the_checkpoint_s(
    configured: Callable[..., Config], problem_set: Callable[..., str]
) -> None:
    changes = [f"models.{role}.engine={{kind: emulated}}" for role in SIZES]
    plan = make_plan(configured(*changes, input=problem_set({"problem": ["What is 1 + 1?"]})))
    for role, of in plan.roles.items():
        emulation = read_emulation(role, of.engine.arguments)
        assert emulation.parameters == of.params == of.checkpoint.active
        assert emulation.kv_bytes_per_token == of.checkpoint.kv_bytes_per_token
        assert emulation.layers == of.checkpoint.config["num_hidden_layers"]


def test_models_take_turns_where_their_caches_would_be_small(emulated: Emulated) -> None:
    report = check(emulated(all="card: RTX4090"))
    assert {model["turns"] for model in report["models"].values()} == {"emulated gpu 0"}
    swap = 2 * 7.62e9 / (0.625 * 32e9)
    assert report["models"]["target"]["swap_seconds"] == pytest.approx(swap)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"prm": "card: H200"}, r"models\.prm\.engine\.card: is not the draft's, with which it shares card 0"),
        ({"prm": "speed: 2"}, r"models: emulated engines need the same engine\.speed.*draft 1, target 1, prm 2"),
        ({"target": "weight_bytes: 1.0e+12"}, r"do not fit|does not fit"),
        ({"target": "device_ids: [0, 1]"}, r"models\.target\.engine\.device_ids: names 2 GPUs, but 1 are needed"),
    ],
)
def test_what_cannot_be_is_told(more: dict[str, str], told: str, emulated: Emulated) -> None:
    with pytest.raises(UserError, match=told):
        make_plan(emulated(**more))
