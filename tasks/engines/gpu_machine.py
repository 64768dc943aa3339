"""Checks what vLLM needs of a GPU machine besides GPUs, before anything is loaded."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from tasks.engines.cards import driver
from tasks.errors import UserError


def check_gpu_machine() -> None:
    """Raises UserError if the machine lacks a compiler, Python's headers or a newer driver, without which engines die.

    vLLM 0.32 samples through Triton kernels, for which Triton compiles a C file against Python.h in each process.
    """
    for fault in (_driver(), _compiler(), _headers()):
        if fault:
            raise UserError(fault)


def _driver() -> str | None:
    version, cuda = driver()
    wanted = _cuda_of_torch()
    if wanted is None or cuda // 1000 >= wanted[0]:  # within a major version, newer code runs on an older driver
        return None
    return (
        f"the NVIDIA driver {version} runs CUDA {cuda // 1000}.{cuda % 1000 // 10} at most, and the installed PyTorch "
        f"is made for CUDA {wanted[0]}.{wanted[1]}: install a newer driver, or a PyTorch and vLLM for this one"
    )


def _cuda_of_torch() -> tuple[int, int] | None:
    """Version of CUDA that the installed PyTorch is made for, read off its files: to import it would take seconds."""
    spec = find_spec("torch")
    text = (Path(spec.origin).parent / "version.py").read_text() if spec and spec.origin else ""
    found = re.search(r"^cuda\b.*= '(\d+)\.(\d+)", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def _compiler() -> str | None:
    named = os.environ.get("CC")
    if named is not None:
        if shutil.which(named):
            return None
        return f"CC: {named} is not a program here, and vLLM needs a C compiler on GPUs: set CC to one, or unset it"
    if shutil.which("gcc") or shutil.which("clang"):
        return None
    return "vLLM needs a C compiler on GPUs, and there is neither gcc nor clang here: install one, or set CC to yours"


def _headers() -> str | None:
    scheme = sysconfig.get_default_scheme()
    scheme = "posix_prefix" if scheme == "posix_local" else scheme  # where Debian's Python has its own headers
    folder = sysconfig.get_paths(scheme=scheme)["include"]
    if os.path.exists(os.path.join(folder, "Python.h")):
        return None
    version = sysconfig.get_python_version()
    return (
        f"vLLM needs Python's headers on GPUs, and {folder} has no Python.h: install them (on Debian and Ubuntu the "
        f"package python{version}-dev), or use a Python that brings them"
    )
