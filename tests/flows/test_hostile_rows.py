"""Rows whose ids and cells are made to do harm go through a whole run as what they are: text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from invariants import check, read_tables

from schemas.config import Config

IDS = ["../../x", "/etc/passwd", "a\nb", "x" * 10_000, "🦀", "\0", "\x1b[31m", "=cmd()", 'a"b\\', " ", ".", "%s{x}"]
IDS += ["\u202ertl", "\ufeff", "\U0010ffff", "null", "0", "<script>", "[bold]", "\r", "\x1b]0;title\x07"]


@pytest.fixture
def hostile(problem_set: Callable[..., str]) -> str:
    texts = [f"Milo has {n} spoons. {id[:50]} How many?" for n, id in enumerate(IDS)]
    texts[3] = texts[3] + " refused"
    columns = {"problem": [*texts, None, ""], "problem_id": [*IDS, "\x1b[2J", "b\nad"], "answer": ["\0", *IDS, "1"]}
    return problem_set(columns | {"level\n": [*IDS, None, None], "source": ["\x1b"] * (len(IDS) + 2)})


def test_hostile_rows(
    generate: Callable[[Config], dict[str, Any]],
    job: Callable[..., Config],
    hostile: str,
    out: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = generate(job("models.draft.engine.refuse=' refused'", input=hostile))
    check(out, hostile)
    assert (manifest["counts"]["rejected"], manifest["counts"]["failed"]) == (2, 2)
    solutions, steps = read_tables(out)
    assert set(solutions["problem_id"]) == set(IDS)
    assert set(steps["problem_id"]) == set(IDS) - {IDS[3]}
    rejected = pl.read_parquet(out / "rejected" / "*.parquet")
    assert set(rejected["problem_id"]) == {"\x1b[2J", "b\nad"}
    names = {p.name for p in out.rglob("*") if p.is_file() and "report" not in p.relative_to(out).parts}
    shards = {f"{n:05d}" for n in range(2)}
    assert names == {"config.yaml", "manifest.json"} | {f"{n}.{kind}" for n in shards for kind in ("parquet", "json")}
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 1500
