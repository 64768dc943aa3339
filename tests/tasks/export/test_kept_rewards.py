"""Rewards that an export asked for are kept in the run's output, for a later export."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from replaced import REPLACED
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from export.made import attempt, solved
from export.scored import rewritten, rows
from flows.terminal.interruption import SIGNALS
from tasks.decoding.requests import ScoreRequest
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import StoreError, UserError
from tasks.storage.store import Store

Command = Callable[..., Said]

Write = Callable[..., str]


def test_an_export_that_was_stopped_goes_on(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run = write("run", rewritten("p0", "p1"), rewritten("STOP", "p3"), rewritten("p4"))
    usual = ScriptedEngine.ask
    closed: list[ScriptedEngine] = []

    async def stops(self: ScriptedEngine, looks: Sequence[ScoreRequest], answered: Any) -> Any:
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return await usual(self, looks, answered)

    async def close(self: ScriptedEngine) -> None:
        closed.append(self)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", stops)
        patch.setattr(ScriptedEngine, "close", close)
        code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs")
    assert (code, said) == (130, "")
    assert f"interrupted; to go on: stepwave export step-dpo {run} {tmp_path}/pairs" in told
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}, "another one changes nothing any more"
    assert len(closed) == 1, "its engine is gone"
    assert list(scratch.iterdir()) == list((tmp_path / "pairs").iterdir()) == []
    assert [path.name for path in (Path(run) / "rewards").iterdir()] == ["00000.parquet"]
    asked.clear()
    assert stepwave("export", "step-dpo", run, f"{tmp_path}/pairs")[0] == 0
    assert len(asked) == 3
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.tier2
@pytest.mark.parametrize("change", REPLACED)
def test_what_was_kept_holds_for_these_steps_and_this_prm(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    models: Path,
    change: str,
) -> None:
    replace_it, _ = REPLACED[change]
    bare = [solved("p0", [attempt("target", "One.\n\n", None)], [attempt("target", "Two.", None)])]
    run = write("bare", bare, decoding={"method": "target"})

    def asks(*options: str) -> int:
        asked.clear()
        assert stepwave("export", "prm", run, f"{tmp_path}/prm", "--splits", "none", *options)[0] == 0
        return len(asked)

    assert asks() == 2
    assert asks() == 0
    other = tmp_path / "other"
    shutil.copytree(models / "prm", other)
    assert asks("--set", f"models.prm.model={other}") == 0, "the same model elsewhere"
    replace_it(other)
    assert asks("--set", f"models.prm.model={other}") == 2
    assert "| target |  | `target` | `other` (qwen) |" in (tmp_path / "prm" / "README.md").read_text()
    assert asks("--set", f"models.prm.model={other}") == 0
    assert asks() == 2
    file = Path(run) / "rewards" / "00000.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    assert asks() == 2, "a file that was cut is none"
    again = [solved("p0", [attempt("target", "Another.\n\n", None)], [attempt("target", "Two.", None)])]
    run = write("bare", again, decoding={"method": "target"})
    assert asks() == 2, "of steps that were made anew"


def test_an_output_that_cannot_be_written(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = write("run", rewritten("p0"), rewritten("p1"))
    write_file = Store.write

    def read_only(self: Store, key: str, data: bytes) -> Any:
        if self.root == run:
            raise UserError(f"{self.path(key)}: Read-only file system")
        return write_file(self, key, data)

    monkeypatch.setattr(Store, "write", read_only)
    for _ in range(2):
        asked.clear()
        code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--margin", "-1")
        assert code == 0
        assert len(asked) == 2
        assert "2 steps asked now; not kept" in said
        assert told.count("asks for these rewards again") == 1
        assert str(tmp_path) not in (tmp_path / "pairs" / "export.json").read_text()


def test_an_outage_costs_the_rewards_of_its_shard(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = write("run", rewritten("p0"), rewritten("p1"))
    write_file = Store.write

    def away(self: Store, key: str, data: bytes) -> Any:
        if key == "rewards/00000.parquet":
            raise StoreError(f"{self.path(key)}: does not answer")
        return write_file(self, key, data)

    monkeypatch.setattr(Store, "write", away)
    code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--margin", "-1")
    assert code == 0
    assert "not kept" not in said
    assert told.count("asks for this shard's rewards again") == 1
    assert [path.name for path in (Path(run) / "rewards").iterdir()] == ["00001.parquet"]


def fault(name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    changed = {"range": 7.0, "nan": float("nan")}
    if name in changed:
        return lambda kept: kept.with_columns(reward=pl.lit(changed[name], pl.Float32))
    return lambda kept: pl.concat([kept, kept])


@pytest.mark.parametrize("how", ["range", "nan", "twice", "bits", "folder"])
def test_kept_rewards_that_are_damaged_are_none(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    how: str,
) -> None:
    run = write("run", rewritten(*(f"p{n}" for n in range(30))))
    words = ["export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none", "--margin", "-1"]
    assert stepwave(*words)[0] == 0
    right = rows(tmp_path / "pairs")
    file = Path(run) / "rewards" / "00000.parquet"
    if how == "folder":
        shutil.rmtree(file.parent)
        file.parent.write_text("a file")
    elif how == "bits":
        with pq.ParquetFile(file) as whole:
            chunk = whole.metadata.row_group(0).column(4)
        content = bytearray(file.read_bytes())
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start + chunk.total_compressed_size // 2] ^= 1
        file.write_bytes(content)
    else:
        kept = pq.read_table(file)
        changed = fault(how)(pl.DataFrame(kept)).to_arrow().cast(kept.schema)
        pq.write_table(changed.replace_schema_metadata(kept.schema.metadata), file)
    assert len(asked) == 30
    assert stepwave(*words, "--unscored", "keep")[0] == 0
    assert {row["chosen_reward"] for row in rows(tmp_path / "pairs")} == {None}
    code, _, told = stepwave(*words)
    assert (code, len(asked)) == (0, 60)
    assert ("asks for these rewards again" in told) == (how == "folder")
    assert rows(tmp_path / "pairs") == right
