"""Code that comes with a checkpoint runs where the configuration says so, and nowhere else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.check import check
from schemas.config import Config, ModelConfig, PromptConfig
from tasks.engines.arguments import vllm_arguments
from tasks.engines.shares import Share
from tasks.errors import UserError
from tasks.models.checkpoint import inspect
from tasks.models.tokenizer import ModelVocabulary

CODE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import PretrainedConfig, PreTrainedTokenizerFast
class OwnTokenizer(PreTrainedTokenizerFast): pass
class OwnConfig(PretrainedConfig): model_type = "own"
"""


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; ... drops one."""
    content = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def own_class(folder: Path) -> None:
    tokenizer = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "code.OwnTokenizer"]}}
    change(folder / "tokenizer_config.json", **tokenizer)


def own_class_as_of_old(folder: Path) -> None:
    own_class(folder)
    change(folder / "tokenizer_config.json", auto_map=["code.OwnTokenizer", "code.OwnTokenizer"])


def own_class_alone(folder: Path) -> None:
    own_class(folder)
    (folder / "tokenizer.json").unlink()


def own_model_and_tokenizer(folder: Path) -> None:
    own_class(folder)
    own_model(folder)
    change(folder / "config.json", model_type="own")


def class_of_somebody_else(folder: Path) -> None:
    own_class(folder)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "somebody/else--code.OwnTokenizer"]})


def own_model(folder: Path) -> None:
    code = {"AutoConfig": "code.OwnConfig", "AutoModel": "code.OwnModel", "AutoModelForCausalLM": "code.OwnModel"}
    change(folder / "config.json", auto_map=code)


def known_class(folder: Path) -> None:
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.OwnTokenizer", None]})


def files_alone(folder: Path) -> None:
    for name in ("__init__", "configuration_own", "modeling_own", "tokenization_own", "conftest", "sitecustomize"):
        shutil.copy(folder / "code.py", folder / f"{name}.py")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Exists once the code has run."""
    return tmp_path / "the-code-ran"


@pytest.fixture
def checkpoint(models: Path, tmp_path: Path, marker: Path) -> Callable[..., Path]:
    """The demo's draft with code beside it."""

    def make(edit: Callable[[Path], None]) -> Path:
        folder = Path(shutil.copytree(models / "draft", tmp_path / edit.__name__))
        (folder / "code.py").write_text(CODE.format(marker=str(marker)))
        edit(folder)
        return folder

    return make


@pytest.fixture
def runnable(configured: Callable[..., Config], problem_set: Callable[..., str]) -> Callable[..., Config]:
    problem_set({"problem": ["1+1?"]})
    return configured


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, nobody to answer, and code is kept with the test's files."""

    def nobody(prompt: str = "") -> str:
        raise AssertionError(f"asked: {prompt}")

    monkeypatch.setattr("builtins.input", nobody)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


NEEDS_CODE = [own_class, own_class_as_of_old, own_class_alone, own_model_and_tokenizer, class_of_somebody_else]
NEEDS_NONE = [own_model, known_class, files_alone]


@pytest.mark.parametrize("edit", NEEDS_CODE)
def test_a_tokenizer_that_needs_code_is_told(
    checkpoint: Callable[..., Path], edit: Callable[[Path], None], marker: Path, runnable: Callable[..., Config]
) -> None:
    folder = checkpoint(edit)
    with pytest.raises(UserError) as caught:
        check(runnable(f"models.target.model={folder}"))
    message = str(caught.value)
    assert str(folder) in message
    assert "models.target.trust_remote_code: true" in message
    assert "\n" not in message
    assert not marker.exists()


@pytest.mark.parametrize("edit", NEEDS_NONE)
def test_a_checkpoint_that_needs_none_of_its_code_is_read_without_it(
    checkpoint: Callable[..., Path], edit: Callable[[Path], None], marker: Path
) -> None:
    model = ModelConfig(model=str(checkpoint(edit)))
    assert inspect("draft", model).parameters > 0
    vocabulary = ModelVocabulary("draft", model, PromptConfig())
    assert vocabulary.decode_steps(vocabulary.encode_steps(["So 2."])) == ["So 2."]
    assert not marker.exists()


def test_trusted_code_runs(checkpoint: Callable[..., Path], marker: Path) -> None:
    model = ModelConfig(model=str(checkpoint(own_class)), trust_remote_code=True)
    inspect("draft", model)
    assert not marker.exists()  # weights are counted without it
    vocabulary = ModelVocabulary("draft", model, PromptConfig())
    assert type(vocabulary.tokenizer).__name__ == "OwnTokenizer"
    assert marker.exists()


def test_each_model_is_trusted_by_itself(
    checkpoint: Callable[..., Path], runnable: Callable[..., Config], marker: Path
) -> None:
    folder = checkpoint(own_class)
    with pytest.raises(UserError, match=r"models\.draft\.trust_remote_code"):
        check(runnable(f"models.draft.model={folder}", "models.target.trust_remote_code=true"))
    assert not marker.exists()


@pytest.mark.parametrize("trust", [False, True])
def test_what_vllm_is_told(configured: Callable[..., Config], trust: bool) -> None:
    config = configured(f"models.draft.trust_remote_code={trust}", "models.draft.engine.kind=vllm")
    share = Share(device="cpu", weights=1, cache=1, tokens=1, arguments={})
    assert vllm_arguments("draft", config, 512, share, {})["trust_remote_code"] is trust


@pytest.mark.tier2
def test_vllm_does_not_run_it_unasked(checkpoint: Callable[..., Path], marker: Path) -> None:
    arguments = pytest.importorskip("vllm.engine.arg_utils").AsyncEngineArgs
    known = checkpoint(own_model)
    assert arguments(model=str(known), trust_remote_code=False).create_model_config().architecture == "Qwen2ForCausalLM"
    unknown = checkpoint(own_model_and_tokenizer)
    with pytest.raises(ValueError, match="trust_remote_code"):
        arguments(model=str(unknown), trust_remote_code=False).create_model_config()
    assert not marker.exists()
