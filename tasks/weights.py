"""What a checkpoint's files say about a model, without loading its weights."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import operator
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.config import ModelConfig
from tasks.errors import UserError
from tasks.model_files import Parts, parts_of

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1}


BACKBONE = ("model.", "transformer.")
"""What the names of a backbone's tensors begin with; what else there is are heads."""
MOST_HEADS = 6
"""Tensors that a message names."""
NO_WRITERS = ("RewardModel", "SequenceClassification", "PrmModel")
"""Parts of the names of architectures that do not generate."""


@dataclass(frozen=True)
class Checkpoint:
    """A model's shape."""

    name: str
    architectures: list[str]
    config: dict[str, Any] = field(repr=False)
    parameters: int
    """Parameters as stored; tied ones once."""
    weight_bytes: int
    positions: int
    """Longest context in tokens."""
    heads: list[str] = field(default_factory=list, repr=False)
    """Names of the tensors outside the backbone; none where the weights are not here."""
    parts: Parts = field(default_factory=dict, repr=False)
    """What it is, by its files."""
    beside: Checkpoint | None = field(default=None, repr=False)
    """A model that the same engine loads, whose weights are counted here."""

    def with_another(self, other: Checkpoint) -> Checkpoint:
        """What an engine holds that loads both."""
        return replace(self, weight_bytes=self.weight_bytes + other.weight_bytes, beside=other)

    @property
    def found(self) -> str:
        """What it is, for messages: its architecture, and what it has beside the backbone."""
        names = ", ".join(self.heads[:MOST_HEADS]) + (", ..." if len(self.heads) > MOST_HEADS else "")
        return (", ".join(self.architectures) or "no architecture") + (f" with {names}" if names else "")

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of key-value cache per token in the cache's usual 16 bits: 2 * layers * kv heads * head size * 2."""
        c = self.config
        heads = c.get("num_attention_heads", 1)
        size = c.get("head_dim") or c.get("hidden_size", 0) // heads
        own = 2 * c.get("num_hidden_layers", 0) * c.get("num_key_value_heads", heads) * size * 2
        return own + (self.beside.kv_bytes_per_token if self.beside else 0)


@dataclass
class Weights:
    """What the headers of weight files say."""

    parameters: int = 0
    size: int = 0
    """Bytes."""
    heads: list[str] = field(default_factory=list)
    """As in `Checkpoint`."""

    def name(self, tensors: Iterable[str]) -> None:
        """Take note of what stands in a file."""
        self.heads += [name for name in tensors if not name.startswith(BACKBONE)]


def inspect(role: str, model: ModelConfig) -> Checkpoint:
    """Read a local checkpoint's, or a hub model's, configuration and the sizes of its weights."""
    where = f"models.{role}.model: {model.model}"
    served = model.engine.kind == "openai"  # its weights may be elsewhere
    local = os.path.expanduser(model.model)
    if os.path.isdir(local):
        config = _json(os.path.join(local, "config.json"), where)
        weights = Weights()
        try:
            weights = _local_weights(local, where, need=model.params is None)
        except UserError:
            if not served:
                raise
    elif os.path.exists(local) or model.model.startswith((".", "/", "~")) or model.model.count("/") != 1:
        raise UserError(f"{where}: no such directory (nor is it a hub id, which reads owner/name)")
    else:
        config, weights = _hub(model.model, where, need=model.params is None and not served)
    parameters = weights.parameters
    if served and not parameters and model.params is None:
        parameters = _count(role, local, where)
    text = config.get("text_config") or config
    positions = text.get("max_position_embeddings") or text.get("n_positions")
    if not isinstance(positions, int):
        positions = model.engine.arguments.get("max_model_len")
    if not isinstance(positions, int):
        raise UserError(f"{where}: config.json names no max_position_embeddings; set engine.max_model_len")
    if role != "prm" and any(word in name for name in config.get("architectures") or [] for word in NO_WRITERS):
        raise UserError(
            f"{where}: is {config['architectures'][0]}, which scores text and cannot write the {role}'s steps"
        )
    architectures = config.get("architectures") or []
    return Checkpoint(
        model.model, architectures, text, parameters, weights.size, positions, weights.heads, parts_of(model)
    )


def _json(path: str, where: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
    except FileNotFoundError:
        raise UserError(f"{where}: the directory holds no {os.path.basename(path)}; is it a checkpoint?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {os.path.basename(path)} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: {os.path.basename(path)} is not a JSON object")
    return found


def _local_weights(folder: str, where: str, *, need: bool) -> Weights:
    """The safetensors files in a folder, from their headers."""
    files = sorted(f for f in os.listdir(folder) if f.endswith(".safetensors"))
    index = "model.safetensors.index.json"
    if os.path.exists(os.path.join(folder, index)):
        named = _json(os.path.join(folder, index), where).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise UserError(f"{where}: {index} names no files")
        if missing := sorted(set(map(str, named.values())) - set(files)):
            raise UserError(f"{where}: {missing[0]} is missing, which {index} names")
        files = sorted(set(map(str, named.values())))
    if not files and need:
        raise UserError(f"{where}: no .safetensors files to count parameters in; set models...params")
    found = Weights()
    for name in files:
        try:
            with open(os.path.join(folder, name), "rb") as f:
                (length,) = struct.unpack("<Q", f.read(8))
                if length > 200_000_000:
                    raise ValueError("header too long")
                header = json.loads(f.read(length))
            tensors = {key: t for key, t in header.items() if key != "__metadata__"}
            counts = {key: math.prod(operator.index(side) for side in t["shape"]) for key, t in tensors.items()}
            ends = max((t["data_offsets"][1] for t in tensors.values()), default=0)
            if os.path.getsize(os.path.join(folder, name)) < 8 + length + ends:
                raise ValueError("shorter than its header says")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
            raise UserError(f"{where}: {name} is not a whole safetensors file ({error})") from error
        found.parameters += sum(counts.values())
        found.size += sum(counts[key] * BYTES.get(t["dtype"], 2) for key, t in tensors.items())
        found.name(tensors)
    return found


def _count(role: str, model: str, where: str) -> int:
    """Parameters that a model of this configuration has, its weights not being here."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM  # imports torch: seconds

    try:
        config = AutoConfig.from_pretrained(model)
        with torch.device("meta"):  # shapes without memory
            # of a PRM the backbone, beside which its head is small
            made = (AutoModel if role == "prm" else AutoModelForCausalLM).from_config(config)
        return made.num_parameters()
    except Exception as error:
        raise UserError(
            f"{where}: no weights here to count parameters in, and none can be told from its config.json; set "
            f"models.{role}.params"
        ) from error


def _hub(name: str, where: str, *, need: bool) -> tuple[dict[str, Any], Weights]:
    """The same of a model on the hub, or in its local cache."""
    from huggingface_hub import get_safetensors_metadata, hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # the error below says it all

    try:
        with contextlib.suppress(LocalEntryNotFoundError):
            cached = snapshot_download(name, local_files_only=True)
            if any(file.endswith(".safetensors") for file in os.listdir(cached)):
                return _json(os.path.join(cached, "config.json"), where), _local_weights(cached, where, need=True)
        config = _json(hf_hub_download(name, "config.json"), where)
        weights = Weights()
        try:
            told = get_safetensors_metadata(name)
            weights.parameters = sum(told.parameter_count.values())
            weights.size = sum(n * BYTES.get(kind, 2) for kind, n in told.parameter_count.items())
            weights.name(told.weight_map)
        except Exception:
            if need:
                raise
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{where}: neither a directory here nor a model the hub gives out ({reason})") from error
    return config, weights
