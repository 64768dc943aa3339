"""The demo's tokenizer, and a checkpoint of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from models.vocabularies import vocabulary

from tasks.models.tokenizer import ModelVocabulary


@pytest.fixture(scope="module")
def demo() -> ModelVocabulary:
    return vocabulary()


@pytest.fixture
def checkpoint(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / "draft", tmp_path / "draft"))
