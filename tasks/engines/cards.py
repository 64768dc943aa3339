"""NVIDIA GPUs, as their driver describes them (NVML): size, free memory, and the processes that hold the rest.

Numbers are those that CUDA gives a process: CUDA_VISIBLE_DEVICES names some of the machine's cards, or parts of them
(MIG), and orders them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
import pynvml

from tasks.errors import UserError

GIB = 1 << 30
LOOK = 1.0
"""Seconds between two looks at a card that is not free."""
LOOKS = 30
"""Number of looks before waiting for a card ends. A killed process gives its card back within seconds."""


@dataclass(frozen=True)
class Holder:
    """A process that has memory of a card."""

    pid: int
    name: str
    used: int | None
    """Bytes; None where the driver does not tell."""

    def __str__(self) -> str:
        used = "" if self.used is None else f", {self.used / GIB:.1f} GiB"
        return f"pid {self.pid} ({self.name}{used})"


@dataclass(frozen=True)
class Card:
    """A GPU, or a MIG part of one, with its memory in bytes."""

    uuid: str
    total: int
    free: int
    holders: list[Holder] = field(default_factory=list)
    """Processes that the driver can name. In a container it names none of those outside."""


@contextlib.contextmanager
def _driver() -> Iterator[None]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise UserError(
            f"no NVIDIA GPU answers here ({error}), but the GPU build of vLLM is installed: the driver is missing, or "
            "this container was given no GPU"
        ) from None
    try:
        yield
    except pynvml.NVMLError as error:
        raise UserError(f"the NVIDIA driver does not list its GPUs ({error})") from None
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def cards() -> list[Card]:
    """The GPUs that this process may use, in the order of their numbers. Raises UserError."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    with _driver():
        if visible is None:
            return [_card(_first_part(handle)) for handle in _handles()]
        if not visible.strip():
            raise UserError("CUDA_VISIBLE_DEVICES is empty, which hides every GPU: unset it, or name some, such as 0,1")
        found = [_card(_named(name.strip())) for name in visible.split(",")]
        if len({card.uuid for card in found}) < len(found):  # CUDA gives such a process no GPU at all
            raise UserError(f"CUDA_VISIBLE_DEVICES: {visible} names a GPU twice")
        return found


def driver() -> tuple[str, int]:
    """The driver's version, and the newest CUDA that it runs, as 1000 x major + 10 x minor. Raises UserError."""
    with _driver():
        return str(pynvml.nvmlSystemGetDriverVersion()), int(pynvml.nvmlSystemGetCudaDriverVersion_v2())


async def wait_until_free(role: str, numbers: list[int], share: float, warn: Callable[[str], None]) -> None:
    """Wait until each of these cards has the share of free memory that vLLM wants at its start. Raises UserError, with
    the processes that hold the card, if one does not become free."""
    for look in range(LOOKS + 1):
        found = await asyncio.to_thread(cards)
        short = next((n for n in numbers if n < len(found) and found[n].free < share * found[n].total), None)
        if short is None:
            return
        card = found[short]
        held = "; held by " + ", ".join(map(str, card.holders)) if card.holders else "; no process here holds the rest"
        fault = (
            f"GPU {short} has {card.free / GIB:.1f} of {card.total / GIB:.1f} GiB free, and the {role} engine wants "
            f"{share * card.total / GIB:.1f} GiB{held}"
        )
        if look == LOOKS:
            raise UserError(f"{fault}. Stop what holds it, take another GPU (engine.device_ids), or ask for less")
        if look == 0:
            warn(f"{fault}; waiting for it {LOOK * LOOKS:.0f} s at most")
        await asyncio.sleep(LOOK)


def _handles() -> list[Any]:
    return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]


def _named(name: str) -> Any:
    """The card of this number, or the card or MIG part whose UUID begins so, as CUDA reads such names."""
    known = _handles()
    if name.isdecimal() and int(name) < len(known):
        return _first_part(known[int(name)])
    if name.startswith("GPU-"):
        for handle in known:
            if pynvml.nvmlDeviceGetUUID(handle).startswith(name):
                return _first_part(handle)
    if name.startswith("MIG-"):
        for handle in (part for card in known for part in _parts(card)):
            if pynvml.nvmlDeviceGetUUID(handle).startswith(name):
                return handle
    listed = ", ".join(pynvml.nvmlDeviceGetUUID(h) for card in known for h in _parts(card) or [card])
    raise UserError(f"CUDA_VISIBLE_DEVICES: {name} is none of the GPUs here (0 to {len(known) - 1}: {listed})")


def _first_part(card: Any) -> Any:
    """What CUDA takes of a card that is named as a whole: where it is divided, its first part."""
    parts = _parts(card)
    return parts[0] if parts else card


def _parts(card: Any) -> list[Any]:
    """The MIG parts that a card is divided into; none where it is whole."""
    try:
        divided, _ = pynvml.nvmlDeviceGetMigMode(card)
    except pynvml.NVMLError:  # it cannot be divided
        return []
    found = []
    for i in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card) if divided else 0):
        with contextlib.suppress(pynvml.NVMLError_NotFound):
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, i))
    return found


def _card(handle: Any) -> Card:
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        total, free = int(memory.total), int(memory.free)
    except pynvml.NVMLError_NotSupported:  # it has none of its own: it shares the host's
        host = psutil.virtual_memory()
        total, free = host.total, host.available
    return Card(uuid, total, free, _holders(handle))


def _holders(handle: Any) -> list[Holder]:
    try:
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:  # not told, such as of a MIG part to an ordinary user
        return []
    return [Holder(p.pid, _name(p.pid), p.usedGpuMemory) for p in running]


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "another container's, or gone"
