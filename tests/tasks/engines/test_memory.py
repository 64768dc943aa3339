"""How engines share GPUs, planned from sizes alone: no GPU is needed to see that a plan fits."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.config import Config
from tasks.engines import memory
from tasks.engines.memory import GIB, OVERHEAD, USABLE, Share, share
from tasks.errors import UserError
from tasks.weights import Checkpoint

WEIGHTS = {"draft": 3 * GIB, "target": 15 * GIB, "prm": 15 * GIB}
LAYERS = {"draft": 28, "target": 28, "prm": 28}


def checkpoint(role: str, weights: int | None = None) -> Checkpoint:
    about = {
        "num_hidden_layers": LAYERS[role],
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
    }
    return Checkpoint(role, ["Qwen2ForCausalLM"], about, 1, weights or WEIGHTS[role], 4096)


def planned(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], weights: dict[str, int] | None = None, **engines: dict[str, Any]
) -> dict[str, Share]:
    monkeypatch.setattr(memory, "on_cpu", lambda: False)
    monkeypatch.setattr(memory, "gpu_sizes", lambda: [size * GIB for size in sizes])
    models = {role: {"model": role, "engine": engines.get(role, {})} for role in WEIGHTS}
    config = Config.model_validate({"input": {"path": "x"}, "output": {"path": "y"}, "models": models})
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


@pytest.mark.parametrize(
    ("sizes", "engines", "told"),
    [
        ([24], {}, "draft, target, prm do not fit on GPU 0 of 24 GiB"),
        ([80], {"prm": {"device_ids": [1]}}, "models.prm.engine: asks for GPU 1, but this machine has 1"),
        ([80], {"prm": {"device_ids": 1}}, "models.prm.engine.device_ids: 1 is not a list of GPU numbers"),
        ([80], {"target": {"tensor_parallel_size": "two"}}, "models.target.engine.tensor_parallel_size: 'two'"),
        ([80], {"draft": {"kv_cache_memory_bytes": "lots"}}, "models.draft.engine.kv_cache_memory_bytes: 'lots'"),
    ],
)
def test_what_cannot_be_is_told(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], engines: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        planned(monkeypatch, sizes, **engines)
    assert told in str(caught.value)
