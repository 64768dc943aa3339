"""NVIDIA's management library as `tasks.engines.cards` asks it, with cards that a test puts there."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml
import pytest


@dataclass
class Fake:
    """A card, or a MIG part of one. Memory in bytes; None: it has none of its own."""

    uuid: str
    total: int | None
    free: int | None = None
    holders: list[tuple[int, int | None]] = field(default_factory=list)
    """Process ids, and what each holds."""
    parts: list[Fake] = field(default_factory=list)
    divided: bool = False


def install(monkeypatch: pytest.MonkeyPatch, cards: list[Fake]) -> None:
    def memory(card: Fake) -> SimpleNamespace:
        if card.total is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(total=card.total, free=card.total if card.free is None else card.free)

    def mode(card: Fake) -> tuple[int, int]:
        if not card.parts and not card.divided:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return int(card.divided), int(card.divided)

    def part(card: Fake, i: int) -> Fake:
        if i >= len(card.parts):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return card.parts[i]

    fakes = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": lambda i: cards[i],
        "nvmlDeviceGetUUID": lambda card: card.uuid,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetMigMode": mode,
        "nvmlDeviceGetMaxMigDeviceCount": lambda card: 7,
        "nvmlDeviceGetMigDeviceHandleByIndex": part,
        "nvmlDeviceGetComputeRunningProcesses": lambda card: [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in card.holders
        ],
        "nvmlSystemGetDriverVersion": lambda: "570.10",
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 12080,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(pynvml, name, fake)
