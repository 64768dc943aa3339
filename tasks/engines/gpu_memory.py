"""How roles share GPUs: side by side, or in turns."""

from __future__ import annotations

from tasks.engines.devices import machine
from tasks.engines.shares import Need, Share
from tasks.errors import UserError

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


def gpu_shares(sizes: list[int], needs: list[Need], sharing: str, host: int) -> dict[str, Share]:
    """Role to its share: decides for each group of roles that share GPUs whether it is resident or takes turns.

    `sizes`: bytes of each GPU. `host`: bytes of the host's memory that are free. Raises UserError where models do not
    fit.
    """
    for need in needs:
        if missing := sorted(gpu for gpu in need.gpus if gpu >= len(sizes)):
            raise UserError(
                f"models.{need.role}.engine: asks for GPU {missing[0]}, but {machine()} has {len(sizes)} "
                "(they count from 0)"
            )
    shares: dict[str, Share] = {}
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
