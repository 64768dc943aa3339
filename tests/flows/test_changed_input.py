"""A problem set that goes or changes under a run ends it clearly, and costs nothing that was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from invariants import check, read_tables
from polars.testing import assert_frame_equal

from schemas.config import Config
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import UserError


@pytest.fixture
def folder(mixed: str, tmp_path: Path) -> Path:
    """The mixed rows in four files."""
    table, folder = pq.read_table(mixed), tmp_path / "set"
    folder.mkdir()
    for start in range(0, len(table), 15):
        pq.write_table(table.slice(start, 15), folder / f"{start:02d}.parquet")
    return folder


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "removed": (Path.unlink, "45.parquet: is gone since it was first seen"),
    "another's content": (
        lambda path: path.write_bytes(path.with_name("00.parquet").read_bytes()),
        "45.parquet: changed since it was first read",
    ),
}


@pytest.mark.tier2
@pytest.mark.parametrize("change", CHANGES)
def test_it_ends_the_run_and_nothing_is_lost(
    generate: Callable[[Config], Any],
    job: Callable[..., Config],
    folder: Path,
    tmp_path: Path,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act, told = CHANGES[change]
    last, out = folder / "45.parquet", tmp_path / "out"
    content = last.read_bytes()
    usual = ScriptedEngine.ask

    async def meanwhile(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if last.exists() and last.read_bytes() == content:
            act(last)
        return await usual(self, asks, answered)

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", meanwhile)
        with pytest.raises(UserError) as caught:
            generate(job("run.in_flight=8", input=str(folder)))
    assert f"{folder}/{told}" in str(caught.value)
    kept = {p: p.stat().st_mtime_ns for p in out.glob("shards/*.json")}
    assert kept

    last.write_bytes(content)
    generate(job(input=str(folder)))
    check(out, str(folder))
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    generate(job(input=str(folder), output=str(tmp_path / "undisturbed")))
    for one, other in zip(read_tables(out), read_tables(tmp_path / "undisturbed"), strict=True):
        assert_frame_equal(one.select(pl.exclude("wave")), other.select(pl.exclude("wave")))
