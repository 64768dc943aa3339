"""A run of the demo on real engines, with a reward model whose weights make NaN of every text with the digit 7."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from invariants import check, read_tables

from flows.export import export
from schemas.export import ExportOptions
from tasks.decoding.requests import Scored, ScoreRequest
from tasks.engines.vllm import VllmEngine
from tasks.output.config_file import load_config
from tasks.storage.stores import Stores

DEMO = Path(__file__).resolve().parents[3] / "deploy" / "demo"


def partly_nan(place: Path) -> tuple[Path, int]:
    """The demo's reward model, spoilt, and the id of the token that spoils a text."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    shutil.copytree(DEMO / "models" / "prm", place)
    [seven] = AutoTokenizer.from_pretrained(place)("7", add_special_tokens=False)["input_ids"]
    weights = load_file(place / "model.safetensors")
    weights["model.embed_tokens.weight"][seven] = math.nan
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place, seven


@pytest.mark.tier2
def test_its_rows_fail_and_no_others(generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what it left in the engine's cache spoil them: that is so small that blocks are used again at once."""
    model, seven = partly_nan(tmp_path / "prm")
    given: list[tuple[ScoreRequest, Any]] = []
    usual = VllmEngine.ask

    async def noted(self: VllmEngine, looks: Sequence[Any], answered: Any) -> Any:
        found = await usual(self, looks, answered)
        given.extend(pair for pair in zip(looks, found, strict=True) if isinstance(pair[0], ScoreRequest))
        return found

    monkeypatch.setattr(VllmEngine, "ask", noted)
    changes = [
        "input.limit=40",
        f"output.path={tmp_path / 'out'}",
        f"models.prm={{model: {model}, engine: {{kv_cache_memory_bytes: {8 << 20}}}}}",
        "models.draft.engine.replicas=1",
        f"input.path={DEMO / 'problems.parquet'}",
        *(f"models.{role}.model={DEMO / 'models' / role}" for role in ("draft", "target")),
    ]
    manifest = generate(load_config(str(DEMO / "config.yaml"), changes))
    check(tmp_path / "out")
    assert all(isinstance(result, Scored) for _, result in given)
    assert [math.isnan(result.reward) for _, result in given] == [seven in look.prompt for look, _ in given]
    solutions, steps = read_tables(tmp_path / "out")
    failed = solutions.filter(status="failed")
    assert len(failed) == manifest["counts"]["failed"] == sum(seven in look.prompt for look, _ in given)
    assert 0 < len(failed) < len(solutions)
    assert failed["error"].unique().to_list() == [f"prm: {model} gave nan, which is no reward (a number from 0 to 1)"]
    assert set(solutions.filter(pl.col("problem").str.contains("7"))["problem_id"]) <= set(failed["problem_id"])
    assert steps["reward"].drop_nulls().is_between(0, 1).all()
    export("prm", [str(tmp_path / "out")], str(tmp_path / "data"), ExportOptions(unscored="drop"), Stores())
    rows = pl.read_parquet(tmp_path / "data" / "data" / "*.parquet")
    labelled = rows.select(pl.concat_str("prompt", pl.col("completions").list.join(""))).to_series()
    assert not labelled.str.contains("7").any()
