"""The kinds of engine: one record each, which everybody asks who needs to know what a kind is.

To add a kind: a record here, its code in tasks/engines and a line in KINDS there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.registry import KeyOf


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """What a kind of engine is. One that is neither `placed` nor `remote` loads no model, and only plays one."""

    placed: bool = False
    """Is the model loaded on devices of this machine, with a part of their memory each?"""
    remote: bool = False
    """Is the model served elsewhere, so that its weights need not be here and its device counts for itself?"""
    emulates: bool = False
    """Does it play devices as well, whose memory roles share as they do that of real ones?"""
    decides: tuple[str, ...] | None = None
    """Its arguments that decide what is written; the others are about devices and speed (None: all, but those that are
    about such things for every kind)."""
    same_as: str | None = None
    """The kind that writes just the same, where a run may go on with either."""

    @property
    def plays(self) -> bool:
        """Is there no model?"""
        return not (self.placed or self.remote)


ENGINE_KINDS: dict[str, EngineRecord] = {
    "vllm": EngineRecord(placed=True),
    "openai": EngineRecord(remote=True, same_as="vllm"),
    "scripted": EngineRecord(),
    "emulated": EngineRecord(
        emulates=True, decides=("max_model_len", "tokens_per_step", "steps", "nan"), same_as="scripted"
    ),
}

EngineKind = Annotated[str, KeyOf(ENGINE_KINDS)]
