"""Files of a checkpoint, read as what somebody else wrote: with limits of size and depth, and nothing taken on trust.

All raise OSError where a file cannot be read, and ValueError where it is not what its name says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

LONGEST = 32 << 20
"""Bytes of JSON that are read: an index of 200,000 tensors has fewer."""
LARGEST = {"chat_template.jinja": 1 << 20, "config.json": 4 << 20, "generation_config.json": 4 << 20}
"""Bytes of other files that are read, whatever reads them."""
WORDS = 64 << 20
"""Bytes of a file of a tokenizer: the largest have half of that."""
OF_WORDS = ("tokenizer", "vocab", "merges", "special_tokens_map", "added_tokens", "spiece", "tekken", "chat_template")
"""Begin the names of a tokenizer's files."""
POINTER = b"version https://git-lfs.github.com/spec/"
LEAST, MOST = 0, 1 << 40
"""Bounds of a number in config.json."""
NUMBERS = (
    "max_position_embeddings",
    "n_positions",
    "num_hidden_layers",
    "num_attention_heads",
    "head_dim",
    "hidden_size",
    "kv_lora_rank",
    "qk_rope_head_dim",
    "vocab_size",
)
"""Fields of config.json that are counted with."""
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
"""Of a number of each kind; those of others are not known here."""


def check_here(path: str) -> None:
    """ValueError where a file is only Git LFS's pointer to it, as a clone has it without that tool."""
    with open(path, "rb") as f:
        if f.read(len(POINTER)) == POINTER:
            raise ValueError("it is a pointer of Git LFS, not the file itself: run `git lfs pull` in its directory")


def parsed(content: bytes | str) -> Any:
    """JSON that may be nested without end, which is a ValueError as well."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str) -> Any:
    """A JSON file of a checkpoint. Raises ValueError or UserError where it is too large, too deep or no JSON."""
    check_here(path)
    with open(path, "rb") as f:
        most = LARGEST.get(os.path.basename(path), LONGEST)
        content = f.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return parsed(content)


def check_config(config: Mapping[str, Any]) -> None:
    """ValueError where what is counted with in a config.json is no number, or a part of it no part."""
    parts = [config]
    if (text := config.get("text_config")) is not None:
        if not isinstance(text, Mapping):
            raise ValueError("text_config is no object")
        parts.append(text)
    for part in parts:
        for name in NUMBERS:
            value = part.get(name)
            if value is not None and not (type(value) is int and LEAST <= value <= MOST):
                raise ValueError(f"{name} is {str(value)[:40]!r}, which is no count")
        if not isinstance(part.get("layer_types") or [], list):
            raise ValueError("layer_types is no list")
    names = config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("architectures is no list of names")


def check_words(folder: str) -> None:
    """ValueError where a file from which a tokenizer is made is too large to be one, or is not here."""
    for name in sorted(os.listdir(folder)):
        if name.startswith(OF_WORDS) or name in LARGEST:
            path, most = os.path.join(folder, name), LARGEST.get(name, WORDS)
            if (size := os.path.getsize(path)) > most:
                raise ValueError(f"{name} has {size:,} bytes, where at most {most:,} are read")
            try:
                if os.path.isfile(path):
                    check_here(path)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None


def tensors_of(path: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Where the numbers of a safetensors file begin, and the name of each tensor to its dtype (a word), shape (counts)
    and data_offsets (two places from there on, within the file)."""
    check_here(path)
    with open(path, "rb") as f:
        start = f.read(8)
        length, room = int.from_bytes(start, "little"), os.fstat(f.fileno()).st_size - 8
        if len(start) < 8 or length > room:
            raise ValueError("shorter than its header says")
        if length > LONGEST:
            raise ValueError(f"its header has {length:,} bytes, where at most {LONGEST:,} are read")
        header = parsed(f.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    found = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
    for name, tensor in found.items():
        if fault := _fault(tensor, room - length):
            raise ValueError(f"{fault}, of tensor {name[:200]}")
    return 8 + length, found


def _fault(tensor: Any, room: int) -> str | None:
    """What is wrong with a tensor of a file that has so many bytes of numbers."""
    if not isinstance(tensor, dict) or not isinstance(kind := tensor.get("dtype"), str):
        return "its header gives no dtype"
    shape, places = _counts(tensor.get("shape")), _counts(tensor.get("data_offsets"))
    if shape is None:
        return "its header gives no shape"
    if places is None or len(places) != 2 or places[0] > places[1]:
        return "its header gives no data_offsets"
    begin, end = places
    if end > room:
        return "shorter than its header says"
    numbers = 1
    for side in shape:
        numbers *= side
        if numbers > MOST:
            return "its header gives a shape that no tensor has"
    if kind in BITS and numbers * BITS[kind] // 8 != end - begin:
        return f"its header gives {end - begin:,} bytes to {numbers:,} numbers of {kind}"
    return None


def _counts(values: Any) -> list[int] | None:
    """A short list of counts; None where it is none."""
    good = isinstance(values, list) and len(values) <= 64 and all(type(v) is int and v >= 0 for v in values)
    return values if good else None
