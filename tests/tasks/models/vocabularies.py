"""The demo's tokenizer, whole and changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st

from schemas.config import ModelConfig, PromptConfig
from tasks.models.formats.qwen import TAG
from tasks.models.tokenizer import ModelVocabulary

DRAFT = Path(__file__).parents[3] / "deploy" / "demo" / "models" / "draft"

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", TAG]

steady = settings(max_examples=150, deadline=None, derandomize=True)

PIECES = ["a", " ", ".", "\n", "\n\n", ".\n\n", "é", "😀", "1", ",", "<", ">", "'s", "\u200d", "\u0301", *SPECIAL]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.lists(
    st.sampled_from(PIECES), max_size=20
).map("".join)


def vocabulary(model: Path = DRAFT, **prompt: str | None) -> ModelVocabulary:
    return ModelVocabulary("draft", ModelConfig(model=str(model)), PromptConfig.model_validate(prompt))


def _copy(to: Path) -> Path:
    to.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja"):
        shutil.copy(DRAFT / name, to / name)
    return to
