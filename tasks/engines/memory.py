"""How engines share the machine's memory, planned from the checkpoints' sizes before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.config import Config, EngineConfig
from schemas.engine_kinds import ENGINE_KINDS
from schemas.methods import Role
from tasks.engines.concurrency import full_length, most_trajectories
from tasks.engines.devices import available_memory, check_divides, gpu_sizes, on_cpu, placement, sides
from tasks.engines.gpu_memory import gpu_shares
from tasks.engines.shares import Need, Share
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.tensors import kv_heads

OWN_MEMORY = ("kv_cache_memory_bytes", "gpu_memory_utilization")


def share(config: Config, checkpoints: dict[str, Checkpoint], windows: Mapping[Role, int]) -> dict[str, Share]:
    """vLLM role to its share. Raises UserError where the models do not fit."""
    engines = {role: config.model(role).engine for role in config.engine_roles}
    engines = {role: engine for role, engine in engines.items() if engine.record.placed}
    if not engines:
        return {}
    own: dict[str, dict[str, Any]] = {role: _own(role, engine.arguments) for role, engine in engines.items()}
    for role, engine in engines.items():
        check_divides(role, engine.arguments, checkpoints[role].config)
    if on_cpu():
        return {role: _cpu_share(role, config, checkpoints[role], windows[role], own[role]) for role in engines}
    sizes = gpu_sizes()
    needs = [
        _need(role, engine, checkpoints[role], windows[role], full_length(config, windows[role]), own[role], len(sizes))
        for role, engine in engines.items()
    ]
    return gpu_shares(sizes, needs, config.run.sharing, available_memory())


def _own(role: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The memory arguments that the config gives itself."""
    own = {key: arguments[key] for key in OWN_MEMORY if arguments.get(key) is not None}
    for key, value in own.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UserError(f"models.{role}.engine.{key}: {value!r} is not a positive number")
    return own


def _per_token(checkpoint: Checkpoint, arguments: dict[str, Any]) -> int:
    """Bytes of cache of a token, in the precision that the arguments ask for."""
    asked = str(arguments.get("kv_cache_dtype", "auto"))
    bits = 8 if asked.startswith("fp8") else 32 if asked == "auto" and arguments.get("dtype") in _WIDE else 16
    return max(checkpoint.kv_bytes_per_token * bits // 16, 1)


_WIDE = ("float32", "float")


def _cpu_share(role: str, config: Config, checkpoint: Checkpoint, window: int, own: dict[str, Any]) -> Share:
    """Caches for as many trajectories of full length as may be in flight, but at most an eighth of the memory that is
    free."""
    engine = config.model(role).engine  # type: ignore[arg-type]
    per_token = _per_token(checkpoint, engine.arguments)
    wanted = most_trajectories(config, cpu=True) * config.decoding.paths * full_length(config, window) * per_token
    cache = max(min(wanted, available_memory() // 8) // engine.replicas, window * per_token, 64 << 20)
    cache = int(own.get("kv_cache_memory_bytes", cache))
    return Share(
        "cpu" if engine.replicas == 1 else f"cpu ({engine.replicas} replicas)",
        checkpoint.weight_bytes(engine.arguments),
        cache,
        cache // per_token * engine.replicas,
        {"kv_cache_memory_bytes": cache},
        ({},) * engine.replicas,
        "cpu" if config.run.sharing == "turns" and len(config.engine_roles) > 1 else None,
    )


def _need(
    role: str, engine: EngineConfig, checkpoint: Checkpoint, window: int, length: int, own: dict[str, Any], gpus: int
) -> Need:
    tensor, pipeline, data = sides(role, engine.arguments)
    parts = pipeline * min(tensor, kv_heads(checkpoint.config))  # a head's cache is not divided
    return Need(
        role,
        placement(role, engine.arguments, engine.replicas, gpus),
        engine.replicas * data,
        checkpoint.weight_bytes(engine.arguments) // (tensor * pipeline),
        max(_per_token(checkpoint, engine.arguments) // parts, 1),
        window,
        length,
        own,
    )


def gpus(spec: EngineSpec) -> list[int]:
    """The GPUs on which an engine starts; none where it takes no GPU of this machine."""
    return [] if not ENGINE_KINDS[spec.kind].placed or on_cpu() else placement(spec.role, spec.arguments)[0]
