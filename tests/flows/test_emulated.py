"""A run on emulated cards writes what a run on scripted engines writes, whoever shares a card with whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.config import Config

MODEL = "layers: 28, kv_bytes_per_token: 57344, parameters: 7.0e+9, speed: null"
CARDS = {
    "shared": ("card: H100", "card: H100", "card: H100"),
    "in turns": ("card: RTX4090", "card: RTX4090", "card: RTX4090"),
    "apart": ("replicas: 2, device_ids: [0, 1]", "tensor_parallel_size: 2, device_ids: [2, 3]", "device_ids: [4]"),
    "small caches": ("cache_tokens: 2048", "cache_tokens: 2048, host_cache_tokens: 9999", "cache_tokens: 2048"),
}


@pytest.mark.parametrize("cards", CARDS)
def test_answers_depend_on_no_card(
    cards: str,
    configured: Callable[..., Config],
    generate: Callable[[Config], dict[str, Any]],
    problem_set: Callable[..., str],
    tmp_path: Path,
) -> None:
    source = problem_set({"problem": [f"What is {n} + 1?" for n in range(30)]})

    def run(*engines: str, name: str) -> tuple[dict[str, Any], list[pl.DataFrame]]:
        changes = [
            f"models.{role}.engine={{max_model_len: 2048, steps: 3, {engine}}}"
            for role, engine in zip(("draft", "target", "prm"), engines, strict=True)
        ]
        manifest = generate(configured(*changes, input=source, output=str(tmp_path / name)))
        tables = [pl.read_parquet(tmp_path / name / table / "*.parquet") for table in ("solutions", "steps")]
        keys = ["problem_id", "sample", "step", "attempt"]
        return manifest, [t.drop("wave", strict=False).sort(keys[: 4 if "step" in t.columns else 2]) for t in tables]

    scripted, plain = run(*["kind: scripted"] * 3, name="scripted")
    emulated, on_cards = run(*(f"kind: emulated, {MODEL}, {own}" for own in CARDS[cards]), name="emulated")
    assert emulated["run_id"] == scripted["run_id"]
    for ours, theirs in zip(on_cards, plain, strict=True):
        assert ours.drop("flops", strict=False).equals(theirs.drop("flops", strict=False))
    assert sum(of["cached"] for of in emulated["computed"].values()) > 0
