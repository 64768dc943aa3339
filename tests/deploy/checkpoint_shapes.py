"""Checkpoints of the layouts' models without their weights: every tensor's name and shape, in files that are holes."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any, NamedTuple

MODELS = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "models"


class Shape(NamedTuple):
    """A Qwen2.5 model, as its public config.json has it."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = False
    prm: bool = False


SHAPES = {
    "Qwen/Qwen2.5-Math-1.5B-Instruct": Shape(1536, 8960, 28, 12, 2, 151936, tied=True),
    "Qwen/Qwen2.5-Math-7B-Instruct": Shape(3584, 18944, 28, 28, 4, 152064),
    "Qwen/Qwen2.5-Math-72B-Instruct": Shape(8192, 29568, 80, 64, 8, 152064),
    "Qwen/Qwen2.5-Math-PRM-7B": Shape(3584, 18944, 28, 28, 4, 152064, prm=True),
}
POSITIONS = 4096


def tensors(s: Shape) -> dict[str, tuple[int, ...]]:
    """Name to shape."""
    kv = s.hidden // s.heads * s.kv_heads
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (s.vocabulary, s.hidden),
        "model.norm.weight": (s.hidden,),
    }
    for layer in range(s.layers):
        at = f"model.layers.{layer}"
        for name, size in (("q", s.hidden), ("k", kv), ("v", kv)):
            found[f"{at}.self_attn.{name}_proj.weight"] = (size, s.hidden)
            found[f"{at}.self_attn.{name}_proj.bias"] = (size,)
        found[f"{at}.self_attn.o_proj.weight"] = (s.hidden, s.hidden)
        found[f"{at}.mlp.gate_proj.weight"] = found[f"{at}.mlp.up_proj.weight"] = (s.inner, s.hidden)
        found[f"{at}.mlp.down_proj.weight"] = (s.hidden, s.inner)
        found[f"{at}.input_layernorm.weight"] = found[f"{at}.post_attention_layernorm.weight"] = (s.hidden,)
    if s.prm:
        for part, size in (("0", s.hidden), ("2", 2)):
            found[f"score.{part}.weight"], found[f"score.{part}.bias"] = (size, s.hidden), (size,)
    elif not s.tied:
        found["lm_head.weight"] = (s.vocabulary, s.hidden)
    return found


def make(model: str, folder: Path) -> Path:
    """A directory that `check` takes for the checkpoint of this hub id; it takes next to no room on the disk."""
    s = SHAPES[model]
    role = "prm" if s.prm else "draft"
    folder.mkdir(parents=True)
    for file in (MODELS / role).iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copy(file, folder)
    config: dict[str, Any] = json.loads((MODELS / role / "config.json").read_text())
    config |= {
        "hidden_size": s.hidden,
        "intermediate_size": s.inner,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "layer_types": ["full_attention"] * s.layers,
        "vocab_size": s.vocabulary,
        "tie_word_embeddings": s.tied,
        "max_position_embeddings": POSITIONS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    end, header = 0, {}
    for name, shape in tensors(s).items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + end)
    return folder
