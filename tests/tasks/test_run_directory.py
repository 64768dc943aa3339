"""A run's output: what a reader may believe, whatever a crash or another program left there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import Config
from schemas.tables import SOLUTIONS, STEPS
from tasks.config_file import dump_config
from tasks.errors import UserError
from tasks.run_directory import Identity, RunDirectory, shard_key
from tasks.tables import steps_table

Configured = Callable[..., Config]
USAGE = {"draft": {"requests": 1, "generated": 2, "prefilled": 3, "cached": 4}}


@pytest.fixture
def output(configured: Configured) -> RunDirectory:
    return RunDirectory(configured())


def rows(n: int) -> pa.Table:
    return pa.table({"x": list(range(n))})


def commit(output: RunDirectory, *shards: int) -> Identity:
    identity = output.claim("input")
    for shard in shards:
        output.commit(shard, identity, {"solutions": rows(3), "steps": rows(5)}, {"solutions": 3}, USAGE)
    return identity


def folder(output: RunDirectory) -> Path:
    return Path(output.store.root)


def mistake(act: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- commits


def test_a_record_describes_tables_that_are_there(output: RunDirectory) -> None:
    identity = commit(output, 0, 2)
    records, damaged = output.records()
    assert (sorted(records), damaged) == ([0, 2], [])
    record = json.loads((folder(output) / "shards" / "00002.json").read_text())
    assert record == records[2]
    assert record["run_id"] == identity.run_id
    assert (record["counts"], record["computed"], record["shard"]) == ({"solutions": 3}, USAGE, 2)
    for name, n in (("solutions", 3), ("steps", 5)):
        table = record["tables"][name]
        content = (folder(output) / table["key"]).read_bytes()
        assert table["key"] == f"{name}/00002.parquet"
        assert (table["rows"], table["bytes"]) == (n, len(content))
        assert table["sha256"] == hashlib.sha256(content).hexdigest()


def test_tables_are_durable_before_their_record(output: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = output.claim("input")
    output.save_wave(0, "a", steps_table("r", 0, []), USAGE)
    written: list[str] = []
    write, drop = output.store.write, output.store.delete_folder
    monkeypatch.setattr(output.store, "write", lambda key, data: (written.append(key), write(key, data)))
    monkeypatch.setattr(output.store, "delete_folder", lambda key: (written.append(f"drop {key}"), drop(key)))
    tables = {"solutions": rows(1), "steps": rows(1), "rejected": rows(1)}
    output.commit(0, identity, tables, {}, {})
    assert sorted(written[:3]) == ["rejected/00000.parquet", "solutions/00000.parquet", "steps/00000.parquet"]
    assert written[3:] == ["shards/00000.json", "drop checkpoints/00000"]


@pytest.mark.parametrize("table", ["solutions/00001.parquet", "steps/00001.parquet"])
@pytest.mark.parametrize("harm", ["gone", "short", "long", "empty"])
def test_a_record_without_its_tables_is_reported_and_not_believed(output: RunDirectory, table: str, harm: str) -> None:
    commit(output, 0, 1)
    path = folder(output) / table
    if harm == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes({"short": content[:-1], "long": content + b"x", "empty": b""}[harm])
    records, damaged = output.records()
    assert sorted(records) == [0]
    assert len(damaged) == 1
    assert str(path) in damaged[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"tables": {}}',
        b'{"tables": [], "shard": 1, "counts": {}}',
        b'{"tables": {"solutions": {}}, "shard": 1, "counts": {}}',
        b'{"tables": {}, "shard": "x", "counts": {}}',
        b'{"tables": {}, "shard": 7, "counts": {}, "computed": {}}',
    ],
)
def test_a_damaged_record_is_reported_and_not_believed(output: RunDirectory, content: bytes) -> None:
    commit(output, 0, 1)
    (folder(output) / "shards" / "00001.json").write_bytes(content)
    records, damaged = output.records()
    assert sorted(records) == [0]
    assert damaged == [f"{folder(output)}/shards/00001.json is not a whole record"]


def test_foreign_files_among_the_records_do_no_harm(output: RunDirectory) -> None:
    commit(output, 0)
    (folder(output) / "shards" / ".DS_Store").write_bytes(b"\x00\x01")
    records, damaged = output.records()
    assert sorted(records) == [0]
    assert all(".DS_Store" in fault for fault in damaged)


# --- checkpoints


def attempts(problem: str) -> pa.Table:
    values = {name: [None] for name in STEPS.names} | {
        "run_id": ["r"],
        "shard": [0],
        "problem_id": [problem],
        "sample": [0],
        "step": [0],
        "attempt": [0],
        "role": ["draft"],
        "text": ["x\n\n"],
        "token_ids": [[1, 2]],
        "tokens": [2],
        "accepted": [True],
        "finish": ["step"],
        "wave": [0],
        "seed": [5],
        "prm_tokens": [0],
    }
    return pa.table(values, schema=STEPS)


def test_waves_come_back_as_they_were_kept(output: RunDirectory) -> None:
    assert output.load_waves(0) == ([], [])
    output.save_wave(0, "000001-0000-00000", attempts("p"), USAGE)
    output.save_wave(0, "000001-0001-00000", attempts("q"), {})
    output.save_wave(1, "000001-0000-00000", attempts("of another shard"), USAGE)
    found, usages = output.load_waves(0)
    assert found == attempts("p").to_pylist() + attempts("q").to_pylist()
    assert usages == [USAGE, {}]


def test_damaged_checkpoints_count_as_not_written(output: RunDirectory) -> None:
    output.save_wave(0, "b", attempts("p"), USAGE)
    place = folder(output) / "checkpoints" / "00000"
    whole = (place / "b.parquet").read_bytes()
    (place / "a.parquet").write_bytes(b"")
    (place / "c.parquet").write_bytes(whole[: len(whole) // 2])
    (place / "d.parquet").write_bytes(b"PAR1 not really PAR1")
    (place / "e.parquet").write_bytes(whole[:100] + b"\xff" * 50 + whole[150:])
    pq.write_table(pa.table({"x": [1]}), place / "f.parquet")
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({b"stepwave.usage": b"{}"}), place / "g.parquet")
    pq.write_table(attempts("no usage"), place / "h.parquet")
    found, usages = output.load_waves(0)
    assert [row["problem_id"] for row in found] == ["p"]
    assert usages == [USAGE]


def test_no_flipped_byte_of_a_checkpoint_is_a_crash(output: RunDirectory) -> None:
    output.save_wave(0, "a", attempts("p"), USAGE)
    path = folder(output) / "checkpoints" / "00000" / "a.parquet"
    whole = path.read_bytes()
    for at in range(0, len(whole), 41):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        output.load_waves(0)


# --- whose output it is


def test_the_same_configuration_and_input_are_welcome_again(output: RunDirectory, configured: Configured) -> None:
    first = output.claim("input")
    again = RunDirectory(configured("run.cohort_size=3", "run.cohorts=1"))
    assert again.claim("input") == first
    assert (folder(output) / "config.yaml").read_text() == dump_config(output.config)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("decoding.accept.threshold=0.9", "decoding.accept.threshold: 0.7 there, 0.9 here"),
        ("decoding.seed=1", "decoding.seed: 0 there, 1 here"),
        ("decoding.method=draft", 'decoding.method: "rsd" there, "draft" here'),
        ("run.shard_size=7", "run.shard_size: 1024 there, 7 here"),
        ("prompt.system=null", "prompt.system: "),
        ("models.draft.params=5", "models.draft.params: null there, 5.0 here"),
        ("models.draft.engine.tokens_per_step=5", "models.draft.engine.tokens_per_step: null there, 5 here"),
        ("decoding.accept={rule: clip}", "decoding.accept.threshold: 0.7 there, null here"),
        ("input.limit=5", "input.limit: null there, 5 here"),
    ],
)
def test_another_configuration_is_refused_by_name(
    output: RunDirectory, configured: Configured, change: str, told: str
) -> None:
    output.claim("input")
    other = RunDirectory(configured(change))
    for act in (lambda: other.check_same(None), lambda: other.claim("input")):
        message = mistake(act)
        assert str(folder(output)) in message
        assert told in message


@pytest.mark.parametrize("state", ["claimed", "a shard done", "complete"])
def test_another_input_is_refused(output: RunDirectory, configured: Configured, state: str) -> None:
    identity = commit(output, *([] if state == "claimed" else [0]))
    if state == "complete":
        output.finish(identity, {"counts": {}})
    if state == "a shard done":
        output.store.delete(["checkpoints/run.json"])
    again = RunDirectory(configured())
    again.check_same(None)
    again.check_same("input")
    for act in (lambda: again.check_same("changed"), lambda: again.claim("changed")):
        message = mistake(act)
        assert "another input" in message
        assert str(folder(output)) in message


def test_a_directory_of_other_files_is_refused_and_left_alone(output: RunDirectory) -> None:
    folder(output).mkdir()
    (folder(output) / "thesis.tex").write_text("years of work")
    for act in (lambda: output.check_same(None), lambda: output.claim("input")):
        message = mistake(act)
        assert "thesis.tex" in message
        assert str(folder(output)) in message
    assert [p.name for p in folder(output).iterdir()] == ["thesis.tex"]


def test_an_empty_directory_is_taken(output: RunDirectory) -> None:
    folder(output).mkdir()
    output.claim("input")


@pytest.mark.parametrize("content", [b"", b"input: [", b"\xff\xfe", b"input: {path: x}\n", b"- 1\n"])
def test_a_damaged_configuration_is_told(output: RunDirectory, content: bytes) -> None:
    output.claim("input")
    (folder(output) / "config.yaml").write_bytes(content)
    message = mistake(lambda: output.check_same(None))
    assert str(folder(output) / "config.yaml") in message
    assert "output.path" in message


def test_two_claims_at_once_leave_one_owner(configured: Configured) -> None:
    from concurrent.futures import ThreadPoolExecutor

    outputs = [RunDirectory(configured(f"decoding.seed={n}")) for n in range(8)]

    def claim(output: RunDirectory) -> bool:
        try:
            output.claim("input")
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, outputs))
    assert sum(won) <= 1
    owner = f"seed: {won.index(True)}\n" if any(won) else "seed: "
    assert owner in (folder(outputs[0]) / "config.yaml").read_text()


# --- the end


def test_the_manifest_ends_a_run(output: RunDirectory) -> None:
    identity = commit(output, 0)
    assert output.manifest() is None
    manifest = output.finish(identity, {"counts": {"solutions": 3}})
    assert manifest == output.manifest() == json.loads((folder(output) / "manifest.json").read_text())
    assert manifest["run_id"] == identity.run_id
    assert output.store.keys("checkpoints") == []


def test_the_run_id_depends_on_configuration_and_input_alone(configured: Configured, tmp_path: Path) -> None:
    here = RunDirectory(configured()).claim("input")
    there = RunDirectory(configured(output=str(tmp_path / "elsewhere"))).claim("input")
    other = RunDirectory(configured(output=str(tmp_path / "third"))).claim("other input")
    assert here.run_id == there.run_id != other.run_id


def test_shard_keys_sort() -> None:
    assert [shard_key(n) for n in (0, 12, 99999)] == ["shards/00000.json", "shards/00012.json", "shards/99999.json"]


def test_every_column_is_described() -> None:
    for schema in (SOLUTIONS, STEPS):
        assert all(field.metadata and field.metadata[b"description"] for field in schema)
