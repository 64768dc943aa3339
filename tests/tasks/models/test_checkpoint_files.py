"""A checkpoint's files are somebody else's: what lies, or has no end, is refused in a line before it costs anything."""

from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers
from tokenizers import models as kinds

from schemas.config import ModelConfig, PromptConfig
from tasks.errors import UserError
from tasks.models import tokenizer_files
from tasks.models.checkpoint import inspect
from tasks.models.checkpoint_files import LONGEST, WORDS, check_config, check_words, parsed, read_json, tensors_of
from tasks.models.model_files import parts
from tasks.models.tokenizer import ModelVocabulary
from tasks.models.weight_bytes import weights

TENSOR: dict[str, Any] = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


def written(header: bytes, data: bytes = bytes(16), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def one(**changes: Any) -> bytes:
    return json.dumps({"w": TENSOR | changes}).encode()


HEADERS: dict[str, bytes] = {
    "nothing": b"",
    "half a length": b"\x01\x00",
    "no header": written(b""),
    "a length beyond the file": written(one(), length=1 << 20),
    "a length beyond memory": written(one(), length=1 << 62),
    "a length of all bits": written(one(), length=(1 << 64) - 1),
    "lists without end": written(b"[" * 200_000),
    "objects without end": written(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a list": written(b"[]"),
    "a number": written(b"7"),
    "no JSON": written(b"{'w'}"),
    "no UTF-8": written(b'{"\xff": 1}'),
    "an infinite place": written(one().replace(b"16]", b"Infinity]")),
    "a number of too many digits": written(one().replace(b"[4]", b"[" + b"9" * 9000 + b"]")),
    "a tensor that is a list": written(b'{"w": []}'),
    "a tensor that is null": written(b'{"w": null}'),
    "no dtype": written(json.dumps({"w": {"shape": [4], "data_offsets": [0, 16]}}).encode()),
    "a dtype that is a number": written(one(dtype=7)),
    "no shape": written(one(shape=None)),
    "a side below 0": written(one(shape=[-4])),
    "two sides below 0": written(one(shape=[-2, -2])),
    "a side that is text": written(one(shape=["4"])),
    "a side that is true": written(one(shape=[True, 4])),
    "a side that is a float": written(one(shape=[4.0])),
    "a shape beyond all": written(one(shape=[1 << 60, 1 << 60])),
    "a shape of too many sides": written(one(shape=[1] * 100_000)),
    "places below 0": written(one(data_offsets=[-16, 0])),
    "places the wrong way": written(one(data_offsets=[16, 0])),
    "one place": written(one(data_offsets=[16])),
    "three places": written(one(data_offsets=[0, 8, 16])),
    "places beyond the file": written(one(shape=[8], data_offsets=[0, 32])),
    "places beyond 64 bits": written(one(data_offsets=[0, 1 << 70])),
    "more numbers than bytes": written(one(shape=[4000])),
    "fewer numbers than bytes": written(one(shape=[1])),
}


@pytest.fixture
def checkpoint(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / "draft", tmp_path / "model"))


def told(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect("draft", ModelConfig(model=str(folder)))
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(f"models.draft.model: {folder}: ")
    return message


@pytest.mark.parametrize("lie", HEADERS)
def test_a_header_that_lies_is_told_in_a_line(checkpoint: Path, lie: str) -> None:
    (checkpoint / "model.safetensors").write_bytes(HEADERS[lie])
    assert "model.safetensors is not a whole safetensors file" in told(checkpoint)
    assert weights(str(checkpoint)) is None
    assert "weights" not in parts(str(checkpoint))


def test_a_million_tensors_cost_nothing(checkpoint: Path) -> None:
    header = (
        b"{" + b",".join(b'"%07d":{"dtype":"F32","shape":[],"data_offsets":[0,4]}' % n for n in range(1_000_000)) + b"}"
    )
    (checkpoint / "model.safetensors").write_bytes(written(header))
    tracemalloc.start()
    try:
        assert "its header has" in told(checkpoint)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_is_whole_is_read(models: Path) -> None:
    for path in models.glob("*/*.safetensors"):
        start, tensors = tensors_of(str(path))
        ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
        assert start + max(ends) == path.stat().st_size


DEEP = b'{"architectures":' + b"[" * 200_000
CONFIGS: dict[str, bytes] = {
    "lists without end": DEEP,
    "lists that end": DEEP + b"]" * 200_000 + b"}",
    "large": b'{"a":"' + b"x" * (5 << 20) + b'"}',
    "many lists": b"[" + b"[]," * 3_000_000 + b"0]",
    "no JSON": b"{",
    "no UTF-8": b'{"a":"\xff\xfe"}',
}
FIELDS: dict[str, Any] = {
    "max_position_embeddings": "long",
    "num_hidden_layers": -3,
    "num_attention_heads": 10**40,
    "head_dim": [1],
    "hidden_size": True,
    "vocab_size": 1.5,
    "text_config": "none",
    "layer_types": 7,
    "architectures": {"a": 1},
}


@pytest.mark.parametrize("harm", CONFIGS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_settings_without_end_are_told_in_a_line(checkpoint: Path, name: str, harm: str) -> None:
    (checkpoint / name).write_bytes(CONFIGS[harm])
    message = told(checkpoint)
    assert name in message or "names" in message


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_no_count_is_told(checkpoint: Path, field: str) -> None:
    config = json.loads((checkpoint / "config.json").read_bytes())
    (checkpoint / "config.json").write_text(json.dumps(config | {field: FIELDS[field]}))
    assert f"its config.json cannot be used ({field}" in told(checkpoint)
    if field not in ("text_config", "architectures"):
        with pytest.raises(ValueError, match=field):
            check_config({"text_config": {field: FIELDS[field]}})


def test_limits_are_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(b" " * LONGEST + b"1")
    with pytest.raises(ValueError, match="more than"):
        read_json(str(tmp_path / "index.json"))
    for deep in (b"[" * 200_000, "[" * 200_000, b"[" * 9000 + b"]" * 9000):
        with pytest.raises(ValueError, match="too deeply"):
            parsed(deep)
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model"):
        with open(tmp_path / name, "wb") as f:
            f.truncate(WORDS + 1)
        with pytest.raises(ValueError, match=name):
            check_words(str(tmp_path))
        (tmp_path / name).unlink()
    check_words(str(tmp_path))


def _tokenizer(change: str, value: Any, whole: dict[str, Any]) -> dict[str, Any]:
    if change == "vocab":
        return whole | {"model": whole["model"] | {"vocab": whole["model"]["vocab"] | value}}
    return whole | {change: value}


TOKENIZERS: dict[str, tuple[str, Any]] = {
    "an id beyond all": ("vocab", {"far": (1 << 32) - 1}),
    "an id beyond 31 bits": ("vocab", {"far": 1 << 31}),
    "an id below 0": ("vocab", {"far": -1}),
    "no model": ("model", None),
    "merges of nothing": ("model", {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}),
    "a version unheard of": ("version", "9.0"),
}


@pytest.mark.parametrize("lie", TOKENIZERS)
def test_a_tokenizer_that_lies_is_told_in_a_line(checkpoint: Path, lie: str) -> None:
    path = checkpoint / "tokenizer.json"
    change, value = TOKENIZERS[lie]
    path.write_text(json.dumps(_tokenizer(change, value, json.loads(path.read_bytes()))))
    with pytest.raises(UserError, match=r"models\.draft\.model: .* has (a|no) tokenizer") as caught:
        ModelVocabulary("draft", ModelConfig(model=str(checkpoint)), PromptConfig())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 90_000, b"\xff\xfe", b""], ids=range(4))
def test_a_tokenizer_without_end_is_told_in_a_line(checkpoint: Path, name: str, content: bytes) -> None:
    (checkpoint / name).write_bytes(content)
    with pytest.raises(UserError, match=r"models\.draft\.model: ") as caught:
        ModelVocabulary("draft", ModelConfig(model=str(checkpoint)), PromptConfig())
    assert str(caught.value).isprintable()


RULES: dict[str, tuple[Any, bool]] = {
    "one long text": (normalizers.Replace("a", "b" * 9000), True),
    "one after another": (normalizers.Sequence([normalizers.Replace("a", "a" * 99)] * 2), True),
    "a long beginning": (normalizers.Prepend("x" * 9000), True),
    "as its makers write it": (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), False),
    "quotes": (normalizers.Sequence([normalizers.Replace('"', "''"), normalizers.Replace("\\", "\\\\")]), False),
    "a normal form": (normalizers.NFC(), False),
}


@pytest.mark.parametrize("rules", RULES)
def test_rules_that_make_much_of_a_little_text_are_told(rules: str) -> None:
    tokenizer = Tokenizer(kinds.BPE())
    assert not tokenizer_files.swells(tokenizer)
    tokenizer.normalizer, swells = RULES[rules]
    assert tokenizer_files.swells(tokenizer) == swells


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "chat_template.jinja"]
)
def test_a_file_that_is_only_a_pointer_is_told_with_the_way_to_get_it(checkpoint: Path, name: str) -> None:
    if name.endswith(".bin"):
        (checkpoint / "model.safetensors").unlink()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9876543210\n"
    (checkpoint / name).write_text(pointer)
    if name.startswith(("tokenizer", "chat")):
        with pytest.raises(UserError) as caught:
            ModelVocabulary("draft", ModelConfig(model=str(checkpoint)), PromptConfig())
        message = str(caught.value)
    else:
        message = told(checkpoint)
    assert name in message
    assert "run `git lfs pull`" in message
