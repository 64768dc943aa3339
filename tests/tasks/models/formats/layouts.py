"""Tiny checkpoints of every PRM layout, with random weights and the demo's tokenizer, made in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from schemas.config import PrmConfig, PromptConfig
from tasks.models.checkpoint import inspect
from tasks.models.formats import FORMATS, open_format
from tasks.models.formats.format import Format
from tasks.models.tokenizer import ModelVocabulary

DEMO = Path(__file__).parents[4] / "deploy" / "demo" / "models"
PROMPT = PromptConfig()
TAG = "ки"
SHAPE = {
    "vocab_size": 656,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "initializer_range": 0.15,
    "bos_token_id": 646,
    "eos_token_id": 648,
}


def tokenizer(folder: Path) -> None:
    """The demo's, with Math-Shepherd's tag as one token."""
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO / "draft" / name, folder)
    of_demo = json.loads((folder / "tokenizer.json").read_text())
    of_demo["added_tokens"].append(of_demo["added_tokens"][-1] | {"id": 655, "content": TAG, "special": False})
    (folder / "tokenizer.json").write_text(json.dumps(of_demo))


def make(folder: Path, kind: str, head: str = "lm", **more: Any) -> Path:
    """A model of `kind` (a transformers model type) with a head: lm, labels, or value (Skywork's)."""
    folder.mkdir(parents=True)
    tokenizer(folder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SHAPE, **more, tie_word_embeddings=False)
    of_head = AutoModelForSequenceClassification if head == "labels" else AutoModelForCausalLM
    of_head.from_config(config).float().save_pretrained(folder)
    if head == "value":
        weights = load_file(folder / "model.safetensors")
        weights["v_head.summary.weight"] = torch.randn(1, SHAPE["hidden_size"]) * 0.2
        weights["v_head.summary.bias"] = torch.randn(1)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        rename(folder, "Qwen2ForPrmModel")
    return folder


def rename(folder: Path, architecture: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))


def opened(folder: Path, name: str, prompt: PromptConfig = PROMPT, **settings: Any) -> Format:
    model = PrmConfig.model_validate({"model": str(folder), "format": name, **settings})
    vocabulary = ModelVocabulary("prm", model, prompt, FORMATS[name].template)
    return open_format(model, inspect("prm", model), vocabulary)
