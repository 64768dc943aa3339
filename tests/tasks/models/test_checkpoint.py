"""Checkpoints are read by their headers, and what is wrong with one is told with its role and place."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
from models.checkpoints import mistake

from schemas.config import ModelConfig
from tasks.models.checkpoint import inspect


@pytest.mark.parametrize(
    ("role", "architecture"),
    [
        ("draft", "Qwen2ForCausalLM"),
        ("target", "Qwen2ForCausalLM"),
        ("prm", "Qwen2ForProcessRewardModel"),
    ],
)
def test_the_demos_models(models: Path, role: str, architecture: str) -> None:
    from safetensors import safe_open

    found = inspect(role, ModelConfig(model=str(models / role)))
    with safe_open(models / role / "model.safetensors", "pt") as f:
        tensors = [f.get_tensor(name) for name in f.keys()]  # noqa: SIM118
    assert found.parameters == sum(t.numel() for t in tensors)
    assert found.weight_bytes({}) == sum(t.nbytes for t in tensors)
    assert found.architectures == [architecture]
    assert found.positions == 2048
    c = json.loads((models / role / "config.json").read_text())
    size = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    assert found.kv_bytes_per_token == 4 * c["num_hidden_layers"] * c["num_key_value_heads"] * size


def test_weights_in_several_files_add_up(checkpoint: Path) -> None:
    whole = inspect("draft", ModelConfig(model=str(checkpoint)))
    shutil.copy(checkpoint / "model.safetensors", checkpoint / "more.safetensors")
    assert inspect("draft", ModelConfig(model=str(checkpoint))).parameters == 2 * whole.parameters


@pytest.mark.parametrize("name", ["/no/such/model", "./no", "no", "a/b/c", "s3://bucket/model"])
def test_a_path_that_is_not_there(name: str) -> None:
    assert "no such directory" in mistake(name)


def test_a_file_is_no_checkpoint(checkpoint: Path) -> None:
    assert "no such directory" in mistake(checkpoint / "config.json")


def test_a_directory_without_a_configuration(checkpoint: Path) -> None:
    (checkpoint / "config.json").unlink()
    assert "no config.json" in mistake(checkpoint)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_broken_configuration(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "config.json").write_bytes(content)
    assert "config.json" in mistake(checkpoint)


def test_a_configuration_without_a_length(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    del config["max_position_embeddings"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert "max_position_embeddings" in mistake(checkpoint)


def test_a_directory_without_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    assert "params" in mistake(checkpoint)
    assert inspect("draft", ModelConfig(model=str(checkpoint), params=7.0)).weight_bytes({}) == 0


def header(value: object) -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x00",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 3) + b"{x}",
        header([1]),
        header({"w": [1]}),
        header({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}) + b"\x00" * 15,
        header({"w": {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 16]}}) + b"\x00" * 16,
        header({"w": {"dtype": "F32", "shape": [4], "data_offsets": []}}),
    ],
    ids=range(10),
)
def test_weights_that_are_not_whole(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "model.safetensors").write_bytes(content)
    assert "model.safetensors is not a whole safetensors file" in mistake(checkpoint)


def test_cut_weights(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "shorter than its header says" in mistake(checkpoint)


def test_a_file_that_the_index_names_must_be_there(checkpoint: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-2.safetensors is missing" in mistake(checkpoint)


def test_weights_that_the_index_does_not_name_do_not_count(checkpoint: Path) -> None:
    alone = inspect("draft", ModelConfig(model=str(checkpoint))).parameters
    (checkpoint / "consolidated.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    index = {"weight_map": {"a": "model.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert inspect("draft", ModelConfig(model=str(checkpoint))).parameters == alone


def test_mistrals_own_copy_of_the_weights_does_not_count(checkpoint: Path) -> None:
    alone = inspect("draft", ModelConfig(model=str(checkpoint)))
    shutil.copy(checkpoint / "model.safetensors", checkpoint / "consolidated.safetensors")
    assert inspect("draft", ModelConfig(model=str(checkpoint))).parameters == alone.parameters
    (checkpoint / "model.safetensors").unlink()
    assert inspect("draft", ModelConfig(model=str(checkpoint))).parameters == alone.parameters


@pytest.mark.parametrize("parts", [1, 2])
def test_pickled_weights_are_counted_by_their_sizes(checkpoint: Path, parts: int) -> None:
    (checkpoint / "model.safetensors").unlink()
    names = [f"pytorch_model-{n}.bin" for n in range(parts)] if parts > 1 else ["pytorch_model.bin"]
    for name in names:
        (checkpoint / name).write_bytes(bytes(1000))
    for other in ("training_args.bin", "optimizer.bin"):
        (checkpoint / other).write_bytes(bytes(77777))
    if parts > 1:
        index = {"weight_map": {f"w{n}": name for n, name in enumerate(names)}}
        (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    config = json.loads((checkpoint / "config.json").read_text())
    for kind, width in (("float16", 2), ("bfloat16", 2), (None, 4)):
        config.pop("torch_dtype", None)
        (checkpoint / "config.json").write_text(json.dumps(config | {"dtype": kind}))
        found = inspect("draft", ModelConfig(model=str(checkpoint)))
        assert (found.parameters, found.weights.size) == (1000 * parts // width, 1000 * parts)
    if parts > 1:
        (checkpoint / names[0]).unlink()
        assert f"{names[0]} is missing, which pytorch_model.bin.index.json names" in mistake(checkpoint)
