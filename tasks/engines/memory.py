"""How engines share the machine's memory, planned from the checkpoints' sizes before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.config import Config, EngineConfig
from schemas.engine_kinds import ENGINE_KINDS
from schemas.methods import Role
from tasks.engines.concurrency import full_length, most_trajectories
from tasks.engines.devices import available_memory, check_divides, gpu_sizes, machine, on_cpu, placement, sides
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.tensors import kv_heads

GIB = 1 << 30
OVERHEAD = 2 * GIB
"""Of a GPU, per engine: context, activations and graphs beside weights and cache."""
ASLEEP = 3 * GIB // 2
"""Of a GPU, per engine that sleeps: what it keeps there of that."""
USABLE = 0.92
"""Share of a GPU that engines may fill."""
USEFUL = 16
"""Models stay on a device together if their caches hold this many trajectories of full length. Most solutions take a
fraction of it, so that there is room for about 100."""
SWAP_SPEED = 20 * GIB
"""Bytes per second at which weights move between a GPU and the host, as PCIe 4 or 5 has it."""
OWN_MEMORY = ("kv_cache_memory_bytes", "gpu_memory_utilization")


@dataclass(frozen=True)
class Share:
    """What one role's engine gets."""

    device: str
    weights: int
    """Bytes of weights on each device."""
    cache: int | None
    """Bytes of key-value cache on each device, of the smallest replica; None where the config's own arguments
    decide."""
    tokens: int | None
    """Tokens that the caches of all replicas hold together."""
    arguments: dict[str, Any]
    """Engine arguments that bring it about."""
    replicas: tuple[dict[str, Any], ...] = ({},)
    """Those in which replicas differ."""
    turns: str | None = None
    """Roles with the same name here take turns on their devices."""
    swap_seconds: float | None = None
    """Estimated time of going to sleep, and again of waking up; None where not known."""
    asleep: int | None = None
    """Bytes of the host's memory that its weights take while it sleeps; None where not known."""


@dataclass(frozen=True)
class Need:
    """A role that is to be placed on GPUs."""

    role: str
    replicas: list[list[int]]
    """The GPUs of each."""
    copies: int
    """Times that the weights are loaded: replicas x data parallel. They hold the trajectories between them."""
    weights: int
    """Bytes on each GPU."""
    per_token: int
    """Bytes of cache of a token, on each GPU of a copy."""
    window: int
    length: int
    """Tokens of a trajectory of full length."""
    own: dict[str, Any] = field(default_factory=dict)
    """Memory arguments of the config's own."""

    @property
    def gpus(self) -> set[int]:
        """The GPUs of all replicas, by number."""
        return {gpu for replica in self.replicas for gpu in replica}

    def on(self, gpu: int) -> int:
        """Number of its engines on a GPU: one, or more if there are fewer GPUs than replicas."""
        return sum(gpu in replica for replica in self.replicas)


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
    return _gpu_shares(sizes, needs, config.run.sharing)


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


def _gpu_shares(sizes: list[int], needs: list[Need], sharing: str) -> dict[str, Share]:
    """Decide for each group of roles that share GPUs whether it is resident or takes turns."""
    for need in needs:
        if missing := sorted(gpu for gpu in need.gpus if gpu >= len(sizes)):
            raise UserError(
                f"models.{need.role}.engine: asks for GPU {missing[0]}, but {machine()} has {len(sizes)} "
                "(they count from 0)"
            )
    shares: dict[str, Share] = {}
    host = available_memory()
    for group in _groups(needs):
        if _resident(sizes, group, sharing, host):
            room = _room(sizes, group)
            shares |= {need.role: _share(sizes, need, room, None) for need in group}
            continue
        name = "gpu " + ",".join(str(gpu) for gpu in sorted(set.union(*(need.gpus for need in group))))
        host -= _host_bytes(group)
        for need in group:
            shares[need.role] = _share(sizes, need, _room(sizes, [need], [n for n in group if n is not need]), name)
    return {need.role: shares[need.role] for need in needs}


def _groups(needs: list[Need]) -> list[list[Need]]:
    """Roles whose devices overlap, directly or through others."""
    groups: list[list[Need]] = []
    for need in needs:
        touched = [group for group in groups if any(need.gpus & other.gpus for other in group)]
        groups = [group for group in groups if group not in touched]
        groups.append([*(other for group in touched for other in group), need])
    return groups


def _resident(sizes: list[int], group: list[Need], sharing: str, host: int) -> bool:
    """True if the roles of a group stay on their devices together. Raises UserError if they can neither do that nor
    take turns."""
    if sharing == "resident" or len(group) == 1:
        return True
    if sharing == "turns":
        if refusal := _no_turns(sizes, group, host):
            raise UserError(f"run.sharing: turns: {refusal}")
        return False
    try:
        room = _room(sizes, group)
    except UserError as error:
        if refusal := _no_turns(sizes, group, host):
            raise UserError(f"{error}. Nor can they take turns: {refusal}") from None
        return False
    held = [_tokens(need, room) // need.length for need in group if not need.own]
    return min(held, default=USEFUL) >= USEFUL or bool(_no_turns(sizes, group, host))


def _no_turns(sizes: list[int], group: list[Need], host: int) -> str | None:
    """Why the roles of a group cannot take turns, if so."""
    for need in group:
        try:
            _room(sizes, [need], [other for other in group if other is not need])
        except UserError as error:
            return str(error)
    if host < _host_bytes(group):
        return (
            f"{_host_bytes(group) / GIB:.1f} GiB of weights would sleep in host memory, of which "
            f"{host / GIB:.1f} GiB are free"
        )
    return None


def _asleep(need: Need) -> int:
    """Memory of the host that a role's weights take while they sleep."""
    return need.weights * sum(len(replica) for replica in need.replicas)


def _host_bytes(group: list[Need]) -> int:
    """The same of a group's, while all of them sleep."""
    return sum(_asleep(need) for need in group)


def _room(sizes: list[int], awake: list[Need], asleep: list[Need] | None = None) -> dict[int, float]:
    """GPU to the tokens of each role's trajectories for which it has room, where what weights and overhead leave of it
    goes to the caches so that every role's hold equally many. Raises UserError where that is too little."""
    room: dict[int, float] = {}
    for gpu in sorted({gpu for need in awake for gpu in need.gpus}):
        here = [need for need in awake if gpu in need.gpus]
        left = sizes[gpu] * USABLE - ASLEEP * sum(need.on(gpu) for need in asleep or [])
        for need in here:
            if "gpu_memory_utilization" in need.own:
                each = sizes[gpu] * need.own["gpu_memory_utilization"]
            else:
                each = need.weights + OVERHEAD + need.own.get("kv_cache_memory_bytes", 0)
            left -= each * need.on(gpu)
        planned = [need for need in here if not need.own]
        room[gpu] = left / sum(need.per_token * need.on(gpu) / need.copies for need in planned) if planned else 0.0
        if left < 0 or any(room[gpu] / need.copies < need.window for need in planned):
            longest = max((need.window for need in planned), default=0)
            fit = "do not fit" if len(here) > 1 else "does not fit"
            weights = sum(need.weights * need.on(gpu) for need in here)
            raise UserError(
                f"models: {', '.join(need.role for need in here)} {fit} on GPU {gpu} of {sizes[gpu] / GIB:.0f} GiB "
                f"(weights {weights / GIB:.1f} GiB, cache for a context of {longest:,} "
                "tokens): spread them with engine.device_ids or engine.tensor_parallel_size, or lower "
                "engine.max_model_len or decoding.max_tokens"
            )
    return room


def _replica_tokens(need: Need, room: dict[int, float]) -> list[int]:
    """Tokens that the cache of each copy of the weights holds, by replica."""
    return [int(min(room[gpu] for gpu in replica) / need.copies) for replica in need.replicas]


def _tokens(need: Need, room: dict[int, float]) -> int:
    return sum(_replica_tokens(need, room)) * need.copies // len(need.replicas)


def _share(sizes: list[int], need: Need, room: dict[int, float], turns: str | None) -> Share:
    held = [None] * len(need.replicas) if need.own else _replica_tokens(need, room)
    caches: list[int | None] = []
    of_replicas = []
    for replica, tokens in zip(need.replicas, held, strict=True):
        cache = need.own.get("kv_cache_memory_bytes") if tokens is None else tokens * need.per_token
        arguments = need.own | ({"kv_cache_memory_bytes": cache} if cache else {})
        if "gpu_memory_utilization" not in arguments:
            # vLLM checks at start that this share of the card is free, even where the cache's size is given
            part = (need.weights + OVERHEAD + (cache or 0)) / min(sizes[gpu] for gpu in replica)
            arguments["gpu_memory_utilization"] = round(part, 3)
        caches.append(cache)
        of_replicas.append(arguments)
    total = [cache // need.per_token * need.copies // len(need.replicas) for cache in caches if cache]
    one = len(need.replicas) == 1
    return Share(
        _device(need.replicas),
        need.weights,
        min(cache for cache in caches if cache) if total else None,
        sum(total) if total else None,
        (of_replicas[0] if one else {}) | ({"enable_sleep_mode": True} if turns else {}),
        ({},)
        if one
        else tuple({"device_ids": replica} | own for replica, own in zip(need.replicas, of_replicas, strict=True)),
        turns,
        need.weights / SWAP_SPEED if turns else None,
        _asleep(need) if turns else None,
    )


def _device(replicas: list[list[int]]) -> str:
    """`gpu 0 and 1`, or `gpu 0 (2 replicas)` where they share."""
    places = list(dict.fromkeys(",".join(map(str, replica)) for replica in replicas))
    return "gpu " + " and ".join(places) + (f" ({len(replicas)} replicas)" if len(places) < len(replicas) else "")


def gpus(spec: EngineSpec) -> list[int]:
    """The GPUs on which an engine starts; none where it takes no GPU of this machine."""
    return [] if not ENGINE_KINDS[spec.kind].placed or on_cpu() else placement(spec.role, spec.arguments)[0]
