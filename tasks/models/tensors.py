"""Parameters and bytes of a checkpoint, from the headers of its safetensors files and its config.json.

What counts as a parameter: a weight of the model, however many of them a stored number holds. Scales, zero points,
masks and tables of positions are bytes, but no parameters.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BACKBONE = ("model.", "transformer.")
"""What the names of a backbone's tensors begin with; what else there is are heads."""
FLOATS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}
"""Kinds of numbers that a loader converts to the precision that is asked for, with their bits."""
QUANTIZED = ("F8_", "F6_", "F4", "I8")
"""Begin the kinds of numbers that are one parameter each, whatever the precision asked for."""
PACKED = ("U8", "I32", "U32")
"""Kinds that hold several parameters each, where a checkpoint is quantized."""
BESIDE = re.compile(
    r"(?:^|[._])(?:scales?|scale_inv|scale_2|scb|qzeros|zeros|zero_points?|g_idx|absmax|quant_map|quant_state\S*|"
    r"weight_format|weight_shape|input_scale|amax)$",
    re.IGNORECASE,
)
"""How the names of tensors end that say how others are quantized."""
EXPERTS = re.compile(r"(?:^|\.)(?:experts\.|block_sparse_moe\.(?:input|output)_linear\.)")
ROUTED = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
CHOSEN = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_top_k",
    "moe_k",
)
OF_EXPERTS = "ffn_config"
"""The part of a config.json that has those two, in some makers' files."""
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads")
WIDTH = ("hidden_size", "n_embd", "d_model")
HEAD_SIZE = ("head_dim", "kv_channels")
KV_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")


@dataclass
class Weights:
    """What the headers of weight files say."""

    parameters: int = 0
    """Tied ones once."""
    of_experts: int = 0
    """Those of them that only some tokens are computed with."""
    size: int = 0
    """Bytes, as stored."""
    floats: dict[str, int] = field(default_factory=dict)
    """Kind of FLOATS to how many numbers are stored so."""
    heads: list[str] = field(default_factory=list)
    """Names of the tensors outside the backbone."""

    def take(self, tensors: Mapping[str, Mapping[str, Any]], bits: int | None) -> None:
        """Count a file's tensors. `bits`: of a quantized parameter (`packed_bits`). Raises what a header that is none
        makes of it: LookupError, TypeError, ValueError, AttributeError."""
        for name, tensor in tensors.items():
            kind = str(tensor["dtype"])
            numbers = math.prod(operator.index(side) for side in tensor["shape"])
            begin, end = (operator.index(at) for at in tensor["data_offsets"])
            self.size += end - begin
            if kind in FLOATS:
                self.floats[kind] = self.floats.get(kind, 0) + numbers
            found = parameters(name, kind, numbers, bits)
            self.parameters += found
            self.of_experts += found if EXPERTS.search(name) else 0
        self.name(tensors)

    def name(self, tensors: Iterable[str]) -> None:
        """Take note of what stands in a file."""
        self.heads += [name for name in tensors if not name.startswith(BACKBONE)]

    def active(self, config: Mapping[str, Any]) -> int:
        """Parameters that a token is computed with: all but those of experts that it does not go to."""
        part = config.get(OF_EXPERTS)
        config = {**config, **part} if isinstance(part, Mapping) else config
        of, chosen = _first(config, ROUTED), _first(config, CHOSEN)
        if not self.of_experts or not of or not chosen or chosen >= of:
            return self.parameters
        return self.parameters - self.of_experts + self.of_experts * chosen // of

    def loaded(self, dtype: str, quantization: str | None) -> int:
        """Bytes that an engine holds which loads them in `dtype` (vLLM's word), or quantizes them as it does."""
        width = 32 if dtype in ("float32", "float") else 16  # `auto` takes 16 bits for what is stored in 32
        loaded = self.size + sum(n * (width - FLOATS[kind]) for kind, n in self.floats.items()) // 8
        of = 4 if quantization == "bitsandbytes" else 8 if (quantization or "").startswith("fp8") else None
        wide = sum(self.floats.values())
        if of is None or wide < self.parameters // 2:  # it is quantized already
            return loaded
        return loaded - wide * (width - of) // 8


def by_size(size: int, config: Mapping[str, Any]) -> Weights:
    """What pickled weights hold, which are not opened: nothing but numbers of the kind that config.json names (32 bits
    where it names none)."""
    kinds = {"float16": "F16", "bfloat16": "BF16", "float64": "F64"}
    kind = kinds.get(str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch."), "F32")
    numbers = size * 8 // FLOATS[kind]
    return Weights(parameters=numbers, size=size, floats={kind: numbers})


def parameters(name: str, kind: str, numbers: int, bits: int | None) -> int:
    """How many parameters a tensor holds."""
    if BESIDE.search(name):
        return 0
    if kind in FLOATS or kind.startswith(QUANTIZED):
        return numbers
    if kind in PACKED and bits:
        return numbers * int(kind[1:]) // bits
    return 0  # masks, positions, and what else is counted in whole numbers


def packed_bits(config: Mapping[str, Any]) -> int | None:
    """Bits of a quantized parameter, as a checkpoint's config.json has them; None where it is not quantized."""
    quantized = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(quantized, Mapping):
        return None
    for key in ("bits", "w_bit", "nbits", "weight_bits"):
        if isinstance(bits := quantized.get(key), int) and bits > 0:
            return bits
    groups = quantized.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and isinstance(bits := weights.get("num_bits"), int) and bits > 0:
            return bits
    words = " ".join(str(value) for value in quantized.values()).lower()
    if quantized.get("load_in_8bit") is True or "int8" in words or "w8" in words:
        return 8
    return 4 if quantized.get("load_in_4bit") is True or re.search(r"fp4|nf4|int4|w4", words) else 8


def cache_per_token(config: Mapping[str, Any]) -> int:
    """Bytes of key-value cache of a token, in the cache's usual 16 bits: 2 * layers * kv heads * head size * 2; with
    multi-head latent attention layers * (latent + rotary) * 2, which is one and the same for all heads."""
    kinds = config.get("layer_types")
    layers = _first(config, LAYERS) or 0
    if isinstance(kinds, list) and kinds:
        layers = sum("linear" not in str(kind) and "mamba" not in str(kind) for kind in kinds)
    if latent(config):
        return layers * (config["kv_lora_rank"] + (config.get("qk_rope_head_dim") or 0)) * 2
    size = _first(config, HEAD_SIZE) or (_first(config, WIDTH) or 0) // (_first(config, HEADS) or 1)
    return 2 * layers * kv_heads(config) * size * 2


def kv_heads(config: Mapping[str, Any]) -> int:
    """Heads that have keys and values of their own, which tensor-parallel workers share out; 1 where all have the
    same."""
    if latent(config) or (config.get("multi_query") and not config.get("new_decoder_architecture")):
        return 1
    return _first(config, KV_HEADS) or _first(config, HEADS) or 1


def latent(config: Mapping[str, Any]) -> bool:
    """Is it multi-head latent attention, as DeepSeek's?"""
    return isinstance(config.get("kv_lora_rank"), int) and config["kv_lora_rank"] > 0


def _first(config: Mapping[str, Any], names: Iterable[str]) -> int | None:
    """The first of these that is given as a number; the largest where it is given for each layer."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value and all(isinstance(one, int) for one in value):
            value = max(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
