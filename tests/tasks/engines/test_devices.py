"""The GPUs there are: this machine's, those that a process may use of them, or those that are only planned for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engines.devices import available_memory, gpu_sizes, machine, on_cpu, planned, read_gpus
from tasks.errors import UserError

MIB = 1 << 20
LISTED = "0, GPU-aa11, 81559\n1, GPU-bb22, 40960\n2, GPU-cc33, 23034\n"


@pytest.fixture(autouse=True)
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for nvidia-smi that lists three."""
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text(f"#!/bin/sh\nprintf '{LISTED}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "sizes"),
    [
        (None, [81559, 40960, 23034]),
        ("2", [23034]),
        ("2,0", [23034, 81559]),
        ("GPU-bb22", [40960]),
        ("GPU-c, 1", [23034, 40960]),
    ],
)
def test_a_process_has_those_that_it_may_use(
    visible: str | None, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_sizes() == [size * MIB for size in sizes]


def test_one_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,7")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES: 7 is none of the GPUs that nvidia-smi lists here"):
        gpu_sizes()


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
    assert gpu_sizes()[0] == 81559 * MIB


@pytest.mark.parametrize("text", ["", "8", "x80", "0x80", "8x0", "8x-1", "8 x 80", "80GiB", "8x80;2x24", "8x80,"])
def test_what_is_no_machine_is_told(text: str) -> None:
    with pytest.raises(UserError, match="--gpus: reads number x GiB of each, such as 8x80, or 2x80,2x24"):
        read_gpus(text)
