"""What is said of a checkpoint that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.config import ModelConfig
from tasks.errors import UserError
from tasks.models.checkpoint import inspect


def mistake(path: Path | str, params: float | None = None) -> str:
    with pytest.raises(UserError) as caught:
        inspect("draft", ModelConfig(model=str(path), params=params))
    message = str(caught.value)
    assert message.startswith(f"models.draft.model: {path}: ")
    assert "\n" not in message
    return message
