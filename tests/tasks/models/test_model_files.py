"""What a model is, by the files of its checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replaced import DEMO, REPLACED, edit

from schemas.config import ModelConfig
from tasks.configuration.identity import unlike_models
from tasks.models import weight_bytes
from tasks.models.model_files import COMMIT, PATH, WEIGHTS, Replaced, check_unchanged, parts, parts_of

Tensors = dict[str, np.ndarray]


def write(folder: Path, *files: Tensors, index: bool = True) -> Path:
    """A checkpoint whose weights are shared out among files."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("model*"):
        old.unlink()
    (folder / "config.json").write_text("{}")
    named = {}
    for number, tensors in enumerate(files):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        at = 0
        for key, tensor in tensors.items():
            header[key] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
            at += tensor.nbytes
            named[key] = name
        text = json.dumps(header).encode()
        content = struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values())
        (folder / name).write_bytes(content)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))
    return folder


def drawn(seed: int = 0, count: int = 6, size: int = 40_000) -> Tensors:
    rng = np.random.default_rng(seed)
    names = [f"model.layers.{n}.mlp.weight" for n in range(count - 1)] + ["lm_head.weight"]
    return {name: rng.random((size // 100, 100), np.float32) for name in names}


@pytest.fixture(params=["whole", "sampled"])
def sampled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to read weights, with checkpoints that are small."""
    if request.param == "sampled":
        monkeypatch.setattr(weight_bytes, "WHOLE", 100_000)
        monkeypatch.setattr(weight_bytes, "MOST", 24)
        monkeypatch.setattr(weight_bytes, "PIECE", 1024)
    return bool(request.param == "sampled")


def weights(folder: Path) -> str:
    found = parts(str(folder))[WEIGHTS]
    assert found is not None
    return found


def test_weights_are_what_they_are_wherever_and_however_they_are_shared_out(tmp_path: Path, sampled: bool) -> None:
    tensors = drawn()
    one = weights(write(tmp_path / "one", tensors))
    halves = [dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])]
    assert weights(write(tmp_path / "two", *halves)) == one
    assert weights(write(tmp_path / "back", dict(reversed(tensors.items())), index=False)) == one


@pytest.mark.parametrize("name", ["model.layers.0.mlp.weight", "model.layers.4.mlp.weight", "lm_head.weight"])
def test_training_of_any_tensor_is_seen(tmp_path: Path, sampled: bool, name: str) -> None:
    before = weights(write(tmp_path / "model", drawn()))
    tensors = drawn()
    tensors[name] = tensors[name] + np.float32(1e-4)
    assert weights(write(tmp_path / "model", tensors)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors | {"lm_head.weight": tensors["lm_head.weight"].reshape(100, -1)},
        lambda tensors: {("score" if name == "lm_head.weight" else name): t for name, t in tensors.items()},
        lambda tensors: tensors | {"bias": np.zeros(3, np.float32)},
        lambda tensors: dict(list(tensors.items())[1:]),
    ],
    ids=["shape", "name", "one more", "one less"],
)
def test_names_and_shapes_count(tmp_path: Path, sampled: bool, change: Callable[[Tensors], Tensors]) -> None:
    before = weights(write(tmp_path / "model", drawn()))
    assert weights(write(tmp_path / "model", change(drawn()))) != before


def test_so_much_is_read_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_bytes, "WHOLE", 100_000)
    monkeypatch.setattr(weight_bytes, "MOST", 20)
    monkeypatch.setattr(weight_bytes, "PIECE", 256)
    experts = {
        f"model.layers.{n}.experts.{k}.weight": np.ones((64, 8), np.float32) for n in range(4) for k in range(40)
    }
    folder = write(tmp_path / "model", experts | {"model.embed.weight": np.ones((999, 9), np.float32)})
    taken: list[int] = []
    read = os.pread

    def noted(fd: int, size: int, start: int) -> bytes:
        taken.append(size)
        return read(fd, size, start)

    monkeypatch.setattr(os, "pread", noted)
    before = weights(folder)
    assert len(taken) <= 20
    assert max(taken) <= 256
    experts["model.embed.weight"] = np.full((999, 9), 2, np.float32)  # the only one of its kind is always among them
    assert weights(write(folder, experts)) != before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"])
def test_weights_of_other_formats_count_by_their_bytes(tmp_path: Path, sampled: bool, name: str) -> None:
    content = bytearray(np.random.default_rng(0).bytes(200_000))
    (tmp_path / name).write_bytes(content)
    (tmp_path / "training_args.bin").write_bytes(b"mine")
    before = weights(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"yours")
    assert weights(tmp_path) == before
    (tmp_path / name).write_bytes(np.random.default_rng(1).bytes(200_000))
    assert weights(tmp_path) != before
    (tmp_path / name).write_bytes(content + b"x")
    assert weights(tmp_path) != before


@pytest.mark.parametrize("change", REPLACED)
def test_every_file_that_decides_counts(tmp_path: Path, change: str) -> None:
    shutil.copytree(DEMO / "draft", tmp_path / "draft")
    before = parts(str(tmp_path / "draft"))
    act, told = REPLACED[change]
    act(tmp_path / "draft")
    after = parts(str(tmp_path / "draft"))
    [other] = [part for part in before | after if before.get(part) != after.get(part)]
    assert told.endswith(other)


MODULES = [{"path": ""}, {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, {"path": 3}, 4]


@pytest.mark.parametrize(
    "name",
    [
        *("params.json", "tekken.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"),
        *("special_tokens_map.json", "added_tokens.json", "hf_quant_config.json"),
    ],
)
def test_what_vllm_finds_by_its_name_counts(tmp_path: Path, name: str) -> None:
    """Added, and edited."""
    shutil.copytree(DEMO / "prm", tmp_path / "prm")
    path = tmp_path / "prm" / name
    path.parent.mkdir(exist_ok=True)
    if "/" in name:
        (tmp_path / "prm" / "modules.json").write_text(json.dumps(MODULES))
    before = parts(str(tmp_path / "prm"))
    path.write_text("{}")
    added = parts(str(tmp_path / "prm"))
    path.write_text('{"pooling_mode_lasttoken": true}')
    edited = parts(str(tmp_path / "prm"))
    assert before != added != edited != before
    assert unlike_models({"prm": before}, {"prm": added})
    assert unlike_models({"prm": added}, {"prm": edited})


@pytest.mark.parametrize("content", ["", "{}", "7", '[{"path": "../.."}]', '[{"path": "/etc"}]', "[[]]", '"a"'])
def test_modules_that_are_none_count_as_they_are(tmp_path: Path, content: str) -> None:
    shutil.copytree(DEMO / "prm", tmp_path / "prm")
    before = parts(str(tmp_path / "prm"))
    (tmp_path / "prm" / "modules.json").write_text(content)
    assert [name for name, of in parts(str(tmp_path / "prm")).items() if before.get(name) != of] == ["modules.json"]


def test_who_saved_it_and_where_does_not_count(tmp_path: Path) -> None:
    shutil.copytree(DEMO / "draft", tmp_path / "draft")
    before = parts(str(tmp_path / "draft"))
    for name in ("config.json", "generation_config.json"):
        edit(tmp_path / "draft" / name, lambda of: of.update(transformers_version="9.9", _name_or_path="/elsewhere"))
    (tmp_path / "draft" / "README.md").write_text("# A model")
    (tmp_path / "draft" / "trainer_state.json").write_text("{}")
    template = (tmp_path / "draft" / "chat_template.jinja").read_text()
    (tmp_path / "draft" / "chat_template.jinja").unlink()
    edit(tmp_path / "draft" / "tokenizer_config.json", lambda of: of.update(chat_template=template))
    assert parts(str(tmp_path / "draft")) == before


def test_code_counts_where_it_is_run(tmp_path: Path) -> None:
    shutil.copytree(DEMO / "draft", tmp_path / "draft")
    (tmp_path / "draft" / "modeling.py").write_text("x = 1")
    for code in (False, True):
        before = parts(str(tmp_path / "draft"), code=code)
        (tmp_path / "draft" / "modeling.py").write_text(f"x = {code}")
        assert (parts(str(tmp_path / "draft"), code=code) != before) == code


@pytest.mark.parametrize("harm", [b"", b"\xff" * 40, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 9) + b'{"a": {}}'])
def test_weights_that_cannot_be_read_are_not_known(tmp_path: Path, harm: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(harm)
    assert WEIGHTS not in parts(str(tmp_path))


# --- hub ids


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Have the hub's cache hold a commit of team/model, with the files of one of the demo's models."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def cached(commit: str, role: str) -> Path:
        place = tmp_path / "hub" / "models--team--model"
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(commit)
        shutil.copytree(DEMO / role, place / "snapshots" / commit)
        return place / "snapshots" / commit

    return cached


def test_a_hub_id_is_its_files_and_its_commit(hub: Callable[[str, str], Path]) -> None:
    hub("a" * 40, "prm")
    found = parts_of(ModelConfig(model="team/model"))
    assert found.pop(COMMIT) == "a" * 40
    assert found.pop(PATH) == "team/model"
    here = parts_of(ModelConfig(model=str(DEMO / "prm")))
    assert found == {part: digest for part, digest in here.items() if part != PATH and digest is not None}
    hub("b" * 40, "target")
    assert parts_of(ModelConfig(model="team/model"))[COMMIT] == "b" * 40


@pytest.mark.parametrize("model", ["team/other", "nobody", "/nowhere", "./x", "a/b/c"])
def test_what_is_not_here_is_known_by_its_name(hub: Callable[[str, str], Path], model: str) -> None:
    assert parts_of(ModelConfig(model=model)) == {PATH: model}


@pytest.mark.parametrize("change", [change for change in REPLACED if change != "chat template"])
def test_an_engine_does_not_load_what_was_replaced_since(tmp_path: Path, change: str) -> None:
    shutil.copytree(DEMO / "draft", tmp_path / "draft")
    model = str(tmp_path / "draft")
    known = parts_of(ModelConfig(model=model))
    check_unchanged("draft", model, known, code=False)
    REPLACED[change][0](tmp_path / "draft")
    with pytest.raises(Replaced, match="was replaced since the run was planned"):
        check_unchanged("draft", model, known, code=False)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["a file", "a checkpoint"])
def test_what_engine_arguments_name_counts(tmp_path: Path, nested: bool, kind: str) -> None:
    shutil.copytree(DEMO / "draft", tmp_path / "named")
    path = tmp_path / "named" if kind == "a checkpoint" else tmp_path / "named" / "chat_template.jinja"
    arguments = {"speculative_config": {"model": str(path)}} if nested else {"hf_config_path": str(path)}
    model = ModelConfig.model_validate({"model": str(DEMO / "target"), "engine": arguments})
    before = parts_of(model)
    assert parts_of(model) == before
    REPLACED["chat template"][0](tmp_path / "named")
    assert [part for part, digest in parts_of(model).items() if before[part] != digest] == [
        "engine.speculative_config.model" if nested else "engine.hf_config_path"
    ]
