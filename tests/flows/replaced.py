"""Checkpoints that are edited or replaced where they lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "models"


def copied(to: Path, *roles: str) -> list[str]:
    """Copies of the demo's models below a folder, as `--set` changes."""
    changes = []
    for role in roles or ("draft", "target", "prm"):
        shutil.copytree(DEMO / role, to / role)
        changes.append(f"models.{role}.model={to / role}")
    return changes


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text()) if path.exists() else {}
    change(values)
    path.write_text(json.dumps(values))


def train(folder: Path) -> None:
    """Other numbers in tensors of the same names, types and shapes."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def add_token(words: dict[str, Any]) -> None:
    last = max(token["id"] for token in words["added_tokens"])
    words["added_tokens"].append(words["added_tokens"][-1] | {"id": last + 1, "content": "<|new|>"})


def write_template(folder: Path, text: str) -> None:
    (folder / "chat_template.jinja").write_text(text)


def template_of(folder: Path) -> str:
    return (folder / "chat_template.jinja").read_text()


REPLACED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weights": (train, "other weights"),
    "config.json": (lambda f: edit(f / "config.json", lambda c: c.update(rms_norm_eps=1e-3)), "another config.json"),
    "end of text": (
        lambda f: edit(f / "generation_config.json", lambda c: c.update(eos_token_id=[0, 1, 5])),
        "another generation_config.json",
    ),
    "tokenizer.json": (lambda f: edit(f / "tokenizer.json", add_token), "another tokenizer.json"),
    "tokenizer's settings": (
        lambda f: edit(f / "tokenizer_config.json", lambda c: c.update(padding_side="right")),
        "another tokenizer_config.json",
    ),
    "chat template": (
        lambda f: write_template(f, "Be brief. " + template_of(f)),
        "another chat template",
    ),
}
"""What is done to a checkpoint, and how it is told."""
