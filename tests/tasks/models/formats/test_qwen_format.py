"""Qwen2.5-Math-PRM's tags."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import ModelConfig, PrmConfig, PromptConfig
from tasks.errors import UserError
from tasks.models.checkpoint import inspect
from tasks.models.formats.qwen import TAG, QwenFormat
from tasks.models.tokenizer import ModelVocabulary

from .layouts import DEMO

steady = settings(max_examples=150, deadline=None, derandomize=True)
PIECES = ["a", " ", ".", "\n", "\n\n", ".\n\n", "é", "😀", "1", "<", ">", "\u200d", "<|im_end|>", "<|endoftext|>", TAG]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.lists(
    st.sampled_from(PIECES), max_size=20
).map("".join)


def of(model: Path) -> QwenFormat:
    config = PrmConfig(model=str(model))
    return QwenFormat(ModelVocabulary("prm", config, PromptConfig()), inspect("prm", config), config)


@pytest.fixture(scope="module")
def demo() -> ModelVocabulary:
    return ModelVocabulary("draft", ModelConfig(model=str(DEMO / "draft")), PromptConfig())


@pytest.fixture(scope="module")
def qwen() -> QwenFormat:
    return of(DEMO / "prm")


@steady
@given(steps=st.lists(texts, max_size=4))
def test_each_step_ends_in_its_one_tag(qwen: QwenFormat, steps: list[str]) -> None:
    encoded = qwen.encode_steps(steps, range(len(steps)))
    assert [(ids[-1], ids.count(qwen.tag)) for ids in encoded] == [(qwen.tag, 1)] * len(steps)


@pytest.mark.parametrize("step", [f"a {TAG} b", TAG, f"{TAG}\n\n", f"x{TAG}{TAG}\n\n"])
def test_a_step_that_spells_the_tag_has_one_tag(demo: ModelVocabulary, qwen: QwenFormat, step: str) -> None:
    ids = qwen.encode_steps([step], [0])[0]
    assert (ids[-1], ids.count(qwen.tag)) == (qwen.tag, 1)
    assert demo.tokenizer.decode(ids) == step.strip() + TAG


def test_a_tag_that_its_tokenizer_does_not_call_special_is_still_plain_text(tmp_path: Path) -> None:
    """Checkpoints whose tag was added with `add_tokens` have it as an ordinary added token."""
    model = Path(shutil.copytree(DEMO / "prm", tmp_path / "prm"))
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    for token in tokenizer["added_tokens"]:
        if token["content"] == TAG:
            token["special"] = False
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    of_model = json.loads((model / "tokenizer_config.json").read_text())
    of_model["extra_special_tokens"].remove(TAG)
    (model / "tokenizer_config.json").write_text(json.dumps(of_model))

    qwen = of(model)
    ids = qwen.encode_steps([f"a {TAG} b"], [0])[0]
    assert (ids[-1], ids.count(qwen.tag)) == (qwen.tag, 1)
    assert qwen.tag not in qwen.vocabulary.prompts([f"Say {TAG}"])[0]


def test_a_tag_costs_as_many_tokens_as_the_format_says(demo: ModelVocabulary, qwen: QwenFormat) -> None:
    assert len(qwen.encode_steps(["So 2"], [0])[0]) == len(demo.encode_steps(["So 2"])[0]) + qwen.tag_tokens


def test_separators_are_left_out_of_scored_steps(qwen: QwenFormat) -> None:
    bare, separated = qwen.encode_steps(["So 2.", "So 2.\n\n"], [0, 1])
    assert bare == separated


def test_a_tokenizer_without_the_tag_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(DEMO / "prm", tmp_path / "prm"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).write_text((model / name).read_text().replace(TAG, "<extra_9>"))
    with pytest.raises(UserError, match=r"models\.prm\.model: .*prm has no step tag <extra_0>"):
        of(model)
