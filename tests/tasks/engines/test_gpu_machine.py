"""What a machine with GPUs lacks is told before anything is loaded."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import pynvml
import pytest

from tasks.engines import gpu_machine
from tasks.engines.gpu_machine import check_gpu_machine
from tasks.errors import UserError

from .fake_nvml import install


@pytest.fixture(autouse=True)
def in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has all that is needed: driver for CUDA 12.8, gcc, headers, PyTorch for CUDA 12.9."""
    install(monkeypatch, [])
    program(tmp_path / "bin" / "gcc")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    torch_for(tmp_path, "12.9", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_paths", lambda scheme: {"include": str(tmp_path / "include")})
    return tmp_path


def program(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(0o755)


def torch_for(folder: Path, cuda: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "torch").mkdir(exist_ok=True)
    (folder / "torch" / "version.py").write_text(f"__version__ = '2.13.0'\ncuda: Optional[str] = {cuda!r}\n")

    class Spec:
        origin = str(folder / "torch" / "__init__.py")

    monkeypatch.setattr(gpu_machine, "find_spec", lambda name: Spec)


def test_nothing_is_said_of_a_machine_in_order() -> None:
    check_gpu_machine()


@pytest.mark.parametrize(
    ("cuda", "newest", "old"),
    [
        ("13.0", 12080, True),
        ("13.0", 12090, True),
        ("12.9", 12000, False),
        ("13.2", 13000, False),
        (None, 11000, False),
    ],
)
def test_a_driver_that_is_too_old_is_told(
    cuda: str | None, newest: int, old: bool, in_order: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_for(in_order, cuda, monkeypatch)
    monkeypatch.setattr(pynvml, "nvmlSystemGetCudaDriverVersion_v2", lambda: newest)
    if old:
        with pytest.raises(UserError, match=r"the NVIDIA driver 570\.10 runs CUDA 12\.[89] at most, .* for CUDA 13\.0"):
            check_gpu_machine()
    else:
        check_gpu_machine()


@pytest.mark.parametrize(
    ("programs", "named", "told"),
    [
        (["gcc"], None, None),
        (["clang"], None, None),
        (["cc"], None, "neither gcc nor clang"),  # Triton looks for no other
        ([], None, "neither gcc nor clang"),
        (["icx"], "icx", None),
        (["gcc"], "icx", "CC: icx is not a program here"),
        (["gcc"], "", "CC:  is not a program here"),
    ],
)
def test_a_machine_without_a_c_compiler_is_told(
    programs: list[str], named: str | None, told: str | None, in_order: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_order / "bin" / "gcc").unlink()
    for name in programs:
        program(in_order / "bin" / name)
    if named is not None:
        monkeypatch.setenv("CC", named)
    expectation: Any = pytest.raises(UserError, match=told) if told else None
    if expectation:
        with expectation:
            check_gpu_machine()
    else:
        check_gpu_machine()


def test_a_python_without_headers_is_told(in_order: Path) -> None:
    (in_order / "include" / "Python.h").unlink()
    with pytest.raises(UserError, match=r"has no Python\.h: install them"):
        check_gpu_machine()
