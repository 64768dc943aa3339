"""How engines share GPUs, planned from sizes alone: no GPU is needed to see that a plan fits."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.config import Config
from tasks.engines import memory
from tasks.engines.gpu_memory import ASLEEP, GIB, OVERHEAD, SWAP_SPEED, USABLE, USEFUL
from tasks.engines.memory import share
from tasks.engines.shares import Share
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.tensors import Weights

WEIGHTS = {"draft": 3 * GIB, "target": 15 * GIB, "prm": 15 * GIB}
LAYERS = {"draft": 28, "target": 28, "prm": 28}


def checkpoint(role: str, weights: int | None = None) -> Checkpoint:
    about = {
        "num_hidden_layers": LAYERS[role],
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
    }
    return Checkpoint(role, ["Qwen2ForCausalLM"], about, 1, 1, Weights(size=weights or WEIGHTS[role]), 4096)


def planned(
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    weights: dict[str, int] | None = None,
    host: int = 256,
    sharing: str = "auto",
    **engines: dict[str, Any],
) -> dict[str, Share]:
    """`sizes`: of GPUs, `host`: of free memory beside them; both in GiB."""
    monkeypatch.setattr(memory, "on_cpu", lambda: False)
    monkeypatch.setattr(memory, "gpu_sizes", lambda: [size * GIB for size in sizes])
    monkeypatch.setattr(memory, "available_memory", lambda: host * GIB)
    models = {role: {"model": role, "engine": engines.get(role, {})} for role in WEIGHTS}
    values = {"input": {"path": "x"}, "output": {"path": "y"}, "models": models, "run": {"sharing": sharing}}
    config = Config.model_validate(values)
    checkpoints = {role: checkpoint(role, (weights or {}).get(role)) for role in WEIGHTS}
    return share(config, checkpoints, dict.fromkeys(WEIGHTS, 4096))


def used(shares: dict[str, Share], device: int) -> float:
    """Share of a GPU that vLLM is told it may fill."""
    here = [s for s in shares.values() if str(device) in s.device.removeprefix("gpu ").split(",")]
    return sum(s.arguments["gpu_memory_utilization"] for s in here)


def test_one_gpu_is_shared_by_three(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [80])
    assert used(shares, 0) == pytest.approx(USABLE, abs=0.005)
    assert len({s.tokens for s in shares.values()}) == 1
    for role, s in shares.items():
        assert s.cache is not None
        assert s.arguments["kv_cache_memory_bytes"] == s.cache
        assert s.arguments["gpu_memory_utilization"] == pytest.approx(
            (WEIGHTS[role] + OVERHEAD + s.cache) / (80 * GIB), abs=0.001
        )


def test_engines_that_overlap_on_one_gpu_of_several_do_not_overfill_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [80, 80], target={"tensor_parallel_size": 2})
    assert shares["target"].device == "gpu 0,1"
    assert shares["target"].weights == WEIGHTS["target"] // 2
    assert used(shares, 0) <= USABLE + 0.005
    assert used(shares, 1) <= USABLE + 0.005


def test_engines_on_gpus_of_their_own_fill_them(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [80, 80, 80], target={"device_ids": [1]}, prm={"device_ids": [2]})
    assert [used(shares, d) for d in range(3)] == pytest.approx([USABLE] * 3, abs=0.005)


def test_a_cache_that_the_config_sizes_is_left_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [80], prm={"kv_cache_memory_bytes": 4 * GIB})
    own = shares["prm"].arguments
    assert own["kv_cache_memory_bytes"] == 4 * GIB
    assert own["gpu_memory_utilization"] == pytest.approx((WEIGHTS["prm"] + OVERHEAD + 4 * GIB) / (80 * GIB), abs=0.001)
    assert used(shares, 0) <= USABLE + 0.005


def test_a_share_that_the_config_names_is_left_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [80], prm={"gpu_memory_utilization": 0.4})
    assert shares["prm"].arguments == {"gpu_memory_utilization": 0.4}
    assert used(shares, 0) <= USABLE + 0.005


# --- turns


def test_models_that_fit_alone_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [24])
    for role, s in shares.items():
        assert s.turns == "gpu 0"
        assert s.arguments["enable_sleep_mode"]
        assert s.tokens is not None
        assert s.tokens >= 4096
        assert s.weights + OVERHEAD + 2 * ASLEEP + (s.cache or 0) == pytest.approx(24 * GIB * USABLE, abs=1e6)
        assert s.swap_seconds == pytest.approx(WEIGHTS[role] / SWAP_SPEED)


def test_models_that_fit_with_useful_caches_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for s in planned(monkeypatch, [80]).values():
        assert s.turns is None
        assert s.tokens is not None
        assert s.tokens >= USEFUL * 4096
        assert "enable_sleep_mode" not in s.arguments
    assert {s.turns for s in planned(monkeypatch, [48]).values()} == {"gpu 0"}  # they would fit, with little room
    assert {s.turns for s in planned(monkeypatch, [48], sharing="resident").values()} == {None}
    assert {s.turns for s in planned(monkeypatch, [48], host=32).values()} == {None}


def test_turns_need_a_host_that_holds_what_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"33.0 GiB of weights would sleep in host memory, of which 32.0 GiB are free"):
        planned(monkeypatch, [24], host=32)
    with pytest.raises(UserError, match=r"draft, target, prm do not fit on GPU 0 of 24 GiB"):
        planned(monkeypatch, [24], sharing="resident")


def test_only_those_that_share_devices_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = planned(monkeypatch, [24, 24], target={"device_ids": [1]}, sharing="turns")
    assert {role: s.turns for role, s in shares.items()} == {"draft": "gpu 0", "target": None, "prm": "gpu 0"}


# --- several devices


def test_eight_gpus_with_a_large_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """72B over four or eight GPUs, a 7B draft and PRM beside it."""
    weights = {"draft": 15 * GIB, "target": 145 * GIB, "prm": 15 * GIB}
    over_all = planned(monkeypatch, [80] * 8, weights, target={"tensor_parallel_size": 8})
    assert all(used(over_all, d) <= USABLE + 0.005 for d in range(8))
    apart = planned(
        monkeypatch,
        [80] * 8,
        weights,
        target={"tensor_parallel_size": 4},
        draft={"device_ids": [4, 5], "replicas": 2},
        prm={"device_ids": [6, 7], "data_parallel_size": 2},
    )
    assert {s.turns for s in (*over_all.values(), *apart.values())} == {None}
    assert apart["draft"].device == "gpu 4 and 5"
    assert apart["target"].weights == 145 * GIB // 4
    assert apart["prm"].weights == 15 * GIB  # each of the two has them whole
    assert [own["device_ids"] for own in apart["draft"].replicas] == [[4], [5]]
    alone = (80 * GIB * USABLE - 15 * GIB - OVERHEAD) // per_token_of_a_whole_cache()
    assert apart["draft"].tokens == pytest.approx(2 * alone, abs=2)
    assert apart["prm"].tokens == pytest.approx(2 * alone, abs=2)


def per_token_of_a_whole_cache() -> int:
    return checkpoint("draft").kv_bytes_per_token


def test_replicas_hold_a_roles_trajectories_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a target over both GPUs: every role has room for as many trajectories, none is filled beyond its part."""
    shares = planned(
        monkeypatch, [80, 80], target={"tensor_parallel_size": 2}, draft={"replicas": 2}, prm={"replicas": 2}
    )
    tokens = [s.tokens for s in shares.values()]
    assert max(tokens) - min(tokens) <= 2  # type: ignore[type-var, operator]
    for gpu in range(2):
        draft, prm = (shares[role].replicas[gpu] for role in ("draft", "prm"))
        assert draft["device_ids"] == prm["device_ids"] == [gpu]
        parts = [own["gpu_memory_utilization"] for own in (draft, prm, shares["target"].arguments)]
        assert sum(parts) == pytest.approx(USABLE, abs=0.005)


def test_replicas_share_where_there_are_fewer_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the draft on two GPUs: nothing is filled beyond its part, and every role has as much room."""
    shares = planned(monkeypatch, [80, 80], draft={"replicas": 3}, target={"device_ids": [1]})
    assert [own["device_ids"] for own in shares["draft"].replicas] == [[0], [1], [0]]
    assert shares["draft"].device == "gpu 0 and 1 (3 replicas)"
    first, second, third = (own["gpu_memory_utilization"] for own in shares["draft"].replicas)
    assert first + third + shares["prm"].arguments["gpu_memory_utilization"] <= USABLE + 0.005
    assert second + shares["target"].arguments["gpu_memory_utilization"] <= USABLE + 0.005
    one = planned(monkeypatch, [80], draft={"replicas": 2})
    parts = [own["gpu_memory_utilization"] for own in (*one["draft"].replicas, one["target"].arguments)]
    assert sum(parts) + one["prm"].arguments["gpu_memory_utilization"] == pytest.approx(USABLE, abs=0.005)
    assert {share.turns for share in one.values()} == {None}
    asleep = planned(monkeypatch, [40], draft={"replicas": 2}, sharing="turns")
    assert asleep["target"].arguments["gpu_memory_utilization"] <= USABLE - 3 * ASLEEP / (40 * GIB) + 0.005


def test_heads_of_a_cache_are_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over more GPUs than it has heads, every GPU keeps a whole head."""
    eight = planned(monkeypatch, [80] * 16, target={"tensor_parallel_size": 8, "device_ids": list(range(8, 16))})
    sixteen = planned(monkeypatch, [80] * 17, target={"tensor_parallel_size": 16, "device_ids": list(range(1, 17))})
    per_token = [s["target"].cache // s["target"].tokens for s in (eight, sixteen)]  # type: ignore[operator]
    assert per_token[0] == per_token[1]


def test_replicas_on_cpu_divide_an_engines_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "on_cpu", lambda: True)
    monkeypatch.setattr(memory, "available_memory", lambda: 64 * GIB)
    models = {role: {"model": role, "engine": {"replicas": 2 if role == "draft" else 1}} for role in WEIGHTS}
    config = Config.model_validate({"input": {"path": "x"}, "output": {"path": "y"}, "models": models})
    shares = share(config, {role: checkpoint(role) for role in WEIGHTS}, dict.fromkeys(WEIGHTS, 4096))
    assert shares["draft"].replicas == ({}, {})
    assert shares["draft"].cache == 4 * GIB
    assert shares["target"].cache == 8 * GIB
    assert shares["draft"].tokens == shares["target"].tokens


@pytest.mark.parametrize(
    ("sizes", "engines", "told"),
    [
        ([16], {}, "draft, target, prm do not fit on GPU 0 of 16 GiB"),
        ([16], {}, "Nor can they take turns: models: target does not fit on GPU 0 of 16 GiB"),
        ([80], {"prm": {"device_ids": [1]}}, "models.prm.engine: asks for GPU 1, but this machine has 1"),
        ([80], {"prm": {"device_ids": 1}}, "models.prm.engine.device_ids: 1 is not a list of GPU numbers"),
        ([80], {"target": {"tensor_parallel_size": "two"}}, "models.target.engine.tensor_parallel_size: 'two'"),
        ([80] * 4, {"draft": {"device_ids": [0, 1]}}, "device_ids: names 2 GPUs, but 1 are needed (1 engine)"),
        ([80] * 4, {"draft": {"device_ids": [0, 0], "replicas": 2}}, "models.draft.engine.device_ids: [0, 0] names"),
        (
            [80] * 4,
            {"draft": {"device_ids": [0, 1, 2], "replicas": 2, "tensor_parallel_size": 2}},
            "names 3 GPUs, but 4 are needed (2 replicas x 2 tensor parallel)",
        ),
        (
            [80],
            {"draft": {"replicas": 2, "tensor_parallel_size": 2}},
            "models.draft.engine: asks for GPU 1, but this machine has 1",
        ),
        ([24], {"draft": {"replicas": 8}}, "draft does not fit on GPU 0 of 24 GiB (weights 24.0 GiB"),
        ([80], {"draft": {"kv_cache_memory_bytes": "lots"}}, "models.draft.engine.kv_cache_memory_bytes: 'lots'"),
    ],
)
def test_what_cannot_be_is_told(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], engines: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        planned(monkeypatch, sizes, **engines)
    assert told in str(caught.value)
