"""An engine starts, and starts again, with the models that the run was planned with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from replaced import DEMO, REPLACED

from schemas.config import ModelConfig
from tasks.engines.spec import EngineSpec
from tasks.engines.vllm import VllmEngine
from tasks.models.model_files import Replaced, parts_of

pytestmark = pytest.mark.tier2


@pytest.mark.parametrize("which", ["target", "draft"])
async def test_no_process_is_started_for_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Of a speculative target's two, either."""
    known = {}
    for role in ("target", "draft"):
        shutil.copytree(DEMO / role, tmp_path / role)
        known[str(tmp_path / role)] = parts_of(ModelConfig(model=str(tmp_path / role)))
    monkeypatch.setattr("tasks.engines.vllm.prepare", lambda: pytest.fail("it was started"))
    spec = EngineSpec("target", str(tmp_path / "target"), "vllm", 512, checkpoints=known)
    REPLACED["weights"][0](tmp_path / which)
    engine = VllmEngine(spec, str(tmp_path / "engine.log"))
    with pytest.raises(Replaced, match=f"{tmp_path / which} was replaced"):
        await engine.start()
