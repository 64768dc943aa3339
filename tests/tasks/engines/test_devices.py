"""The GPUs there are: this machine's, those that a process may use of them, or those that are only planned for."""

from __future__ import annotations

import pytest

from tasks.engines.devices import available_memory, check_divides, gpu_sizes, machine, on_cpu, planned, read_gpus
from tasks.errors import UserError

from .fake_nvml import Fake, install

MIB = 1 << 20


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [Fake("GPU-aa11", 81559 * MIB), Fake("GPU-bb22", 40960 * MIB)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_none_that_is_named_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA reads it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES is empty, which hides every GPU"):
        gpu_sizes()


def test_a_machine_that_is_planned_for() -> None:
    here = available_memory()
    assert machine() == "this machine"
    with planned(read_gpus("2x80, 1x22.5")):
        assert gpu_sizes() == [80 << 30, 80 << 30, 45 << 29]
        assert not on_cpu()
        assert machine() == "the planned machine"
        assert available_memory() > 1000 * here
    assert gpu_sizes() == [81559 * MIB, 40960 * MIB]


@pytest.mark.parametrize("text", ["", "8", "x80", "0x80", "8x0", "8x-1", "8 x 80", "80GiB", "8x80;2x24", "8x80,"])
def test_what_is_no_machine_is_told(text: str) -> None:
    with pytest.raises(UserError, match="--gpus: reads number x GiB of each, such as 8x80, or 2x80,2x24"):
        read_gpus(text)


SHAPE = {"num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960, "num_hidden_layers": 28}


@pytest.mark.parametrize(
    ("arguments", "shape", "told"),
    [
        ({}, {}, None),
        ({"tensor_parallel_size": 2}, {}, None),
        ({"tensor_parallel_size": 4}, {}, None),  # each key-value head on two GPUs
        (
            {"tensor_parallel_size": 8},
            {},
            "8 does not divide the model's 12 attention heads; these do: 1, 2, 4$",
        ),
        ({"tensor_parallel_size": 3}, {}, "3 does not divide the model's 8960 feed-forward units"),
        (
            {"tensor_parallel_size": 4},
            {"num_attention_heads": 24, "num_key_value_heads": 6},
            "4 does not divide the model's 6 key-value heads",
        ),
        (
            {"tensor_parallel_size": 2},
            {"num_attention_heads": 5, "num_key_value_heads": None},
            "2 does not divide the model's 5",
        ),
        ({"pipeline_parallel_size": 4}, {}, None),
        ({"pipeline_parallel_size": 32}, {}, "32 is more than the model's 28 layers"),
        ({"tensor_parallel_size": 16}, {"num_attention_heads": None, "num_key_value_heads": None}, None),
    ],
)
def test_what_parallel_sizes_do_not_divide_is_told(
    arguments: dict[str, int], shape: dict[str, int | None], told: str | None
) -> None:
    if told is None:
        check_divides("target", arguments, SHAPE | shape)
        return
    with pytest.raises(UserError, match=rf"models\.target\.engine\..*_parallel_size: {told}"):
        check_divides("target", arguments, SHAPE | shape)
