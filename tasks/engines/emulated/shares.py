"""What roles on emulated cards get of them, by the plan that real cards get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from schemas.config import Config
from schemas.engine_kinds import ENGINE_KINDS
from schemas.methods import Role
from tasks.engines.concurrency import full_length
from tasks.engines.devices import PLENTY, placement
from tasks.engines.emulated.arguments import Emulation, read_emulation
from tasks.engines.emulated.data_sheets import Card
from tasks.engines.gpu_memory import gpu_shares
from tasks.engines.shares import Need, Share
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint


def emulated_shares(
    config: Config, checkpoints: Mapping[str, Checkpoint], windows: Mapping[Role, int]
) -> dict[str, Share]:
    """Role to its share, of roles whose engine is emulated. Raises UserError where models do not fit their cards, or
    where roles say different things of a card or of time."""
    engines = {role: config.model(role).engine for role in config.engine_roles}
    emulations = {
        role: _whole(config, role, read_emulation(role, engine.arguments), checkpoints[role])
        for role, engine in engines.items()
        if ENGINE_KINDS[engine.kind].emulates
    }
    if not emulations:
        return {}
    needs = {role: _need(config, role, emulation, windows[role]) for role, emulation in emulations.items()}
    placed = [(needs[role], emulation) for role, emulation in emulations.items()]
    sheets = _sheets(placed)
    _same_speed(emulations)
    sizes = [sheets[number].memory if number in sheets else 0 for number in range(max(sheets) + 1)]
    shares = gpu_shares(sizes, [need for need, _ in placed], config.run.sharing, PLENTY)
    return {need.role: _told(shares[need.role], need, emulation) for need, emulation in placed}


def _whole(config: Config, role: Role, emulation: Emulation, checkpoint: Checkpoint) -> Emulation:
    """With the sizes of the model, those of the checkpoint where the configuration gives none."""
    own = emulation.parameters or config.model(role).params
    layers = emulation.layers or checkpoint.config.get("num_hidden_layers")
    if not isinstance(layers, int):
        raise UserError(f"models.{role}.engine.layers: is needed: the checkpoint's config.json does not say")
    found = {
        "parameters": own or float(checkpoint.active),
        "layers": layers,
        "kv_bytes_per_token": emulation.kv_bytes_per_token or checkpoint.kv_bytes_per_token,
        "weight_bytes": emulation.weight_bytes or (2 * own if own else checkpoint.weight_bytes({})),
    }
    return emulation.model_copy(update=found)


def _need(config: Config, role: Role, emulation: Emulation, window: int) -> Need:
    assert emulation.kv_bytes_per_token is not None
    assert emulation.weight_bytes is not None
    replicas, cards = config.model(role).engine.replicas, emulation.tensor_parallel_size
    arguments = {"tensor_parallel_size": cards, "device_ids": emulation.device_ids}
    per_token = -(-emulation.kv_bytes_per_token // cards)
    own = {} if emulation.cache_tokens is None else {"kv_cache_memory_bytes": emulation.cache_tokens * per_token}
    return Need(
        role,
        placement(role, arguments, replicas),
        replicas,
        int(emulation.weight_bytes // cards),
        per_token,
        window,
        full_length(config, window),
        own,
    )


def _sheets(placed: list[tuple[Need, Emulation]]) -> dict[int, Card]:
    """Number of each card to its data sheet."""
    found: dict[int, tuple[Card, str]] = {}
    for need, emulation in placed:
        for number in need.gpus:
            other, role = found.setdefault(number, (emulation.sheet, need.role))
            if other != emulation.sheet:
                raise UserError(
                    f"models.{need.role}.engine.card: is not the {role}'s, with which it shares card {number}"
                )
    return {number: sheet for number, (sheet, _) in found.items()}


def _same_speed(emulations: Mapping[Role, Emulation]) -> None:
    speeds = {emulation.speed for emulation in emulations.values()}
    if len(speeds) > 1:
        told = ", ".join(f"{role} {'null' if of.speed is None else f'{of.speed:g}'}" for role, of in emulations.items())
        raise UserError(f"models: emulated engines need the same engine.speed, for they share one time ({told})")


def _told(share: Share, need: Need, emulation: Emulation) -> Share:
    """The share with the arguments of this kind, those of the model's sizes included."""
    card = emulation.card if isinstance(emulation.card, str) else "card"
    names = ("parameters", "layers", "kv_bytes_per_token", "weight_bytes")
    of_replicas: list[dict[str, Any]] = [
        {
            "device_ids": devices,
            "cache_tokens": (share.arguments | own)["kv_cache_memory_bytes"] // need.per_token,
        }
        for devices, own in zip(need.replicas, share.replicas, strict=True)
    ]
    swap = emulation.costs().swap_seconds
    return replace(
        share,
        device=f"emulated {card} {share.device.removeprefix('gpu ')}",
        arguments={name: getattr(emulation, name) for name in names},
        replicas=tuple(of_replicas),
        turns=f"emulated {share.turns}" if share.turns else None,
        swap_seconds=swap if share.turns else None,
    )
