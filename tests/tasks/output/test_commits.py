"""Commits: a shard's tables are durable before its record, and a record is believed only with its tables."""

from __future__ import annotations

import hashlib
import json

import pytest
from output.small_outputs import SIZE, USAGE, attempts, commit, content, folder, rows

from schemas.config import Config
from tasks.output.directory import RunDirectory, ShardTaken
from tasks.storage.store import Stat


def test_a_record_describes_tables_that_are_there(output: RunDirectory, config: Config) -> None:
    identity = commit(output, config, 0, 2)
    records = output.records()
    assert (sorted(records.good), records.damaged) == ([0, 2], [])
    record = json.loads((folder(output) / "shards" / "00002.json").read_text())
    assert record.pop("checksum")
    assert record == records.good[2] == output.record(2)
    assert record["run_id"] == identity.run_id
    assert (record["counts"], record["computed"], record["shard"]) == ({"solutions": 3, "failed": 0}, USAGE, 2)
    for name, n in (("solutions", 3), ("steps", 2)):
        table = record["tables"][name]
        written = (folder(output) / table["key"]).read_bytes()
        assert table["key"] == f"{name}/00002.parquet"
        assert (table["rows"], table["bytes"]) == (n, len(written))
        assert table["sha256"] == hashlib.sha256(written).hexdigest()
        assert table["version"] == output.store.stats(name)[table["key"]].version


def test_tables_are_durable_before_their_record(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = output.begin(config, "input", SIZE)
    output.save_steps(0, "a", attempts("p"), USAGE)
    done: list[str] = []
    place, drop = output.store.place, output.store.delete_folder

    def noted_place(key: str, data: bytes) -> Stat | None:
        stat = place(key, data)
        done.append(key)
        return stat

    def noted_drop(key: str) -> None:
        drop(key)
        done.append(f"drop {key}")

    monkeypatch.setattr(output.store, "place", noted_place)
    monkeypatch.setattr(output.store, "delete_folder", noted_drop)
    tables = {"solutions": rows(1), "steps": rows(1), "rejected": rows(1)}
    output.commit(0, identity, tables, {}, {})
    assert sorted(done[:3]) == ["rejected/00000.parquet", "solutions/00000.parquet", "steps/00000.parquet"]
    assert done[3:] == ["shards/00000.json", "drop checkpoints/00000", "drop checkpoints/claims/00000"]


def test_a_shard_is_committed_once(output: RunDirectory, config: Config) -> None:
    """Whoever comes second, and still takes it for his own, leaves it as it is."""
    identity, one, other = commit(output, config, 0), {"steps": rows(1)}, {"steps": rows(2)}
    before = content(output)
    for tables in (one, other, {}):
        with pytest.raises(ShardTaken):
            output.commit(0, identity, tables, {}, {})
    assert content(output) == before


def test_tables_without_a_record_make_room_for_those_of_one(output: RunDirectory, config: Config) -> None:
    """Whoever wrote them ended before its record."""
    identity = output.begin(config, "input", SIZE)
    output.store.write("steps/00000.parquet", b"of one that was killed")
    output.commit(0, identity, {"solutions": rows(1), "steps": rows(1)}, {"failed": 0}, {})
    assert sorted(output.records().good) == [0]


def test_what_another_began_since_stays(output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a manifest and its tidying up, somebody may open the run again for its failed rows."""
    identity, write = commit(output, config, 0), output.store.write
    output.save_steps(1, "a", attempts("p"), USAGE)

    def then_another(key: str, data: bytes) -> Stat:
        stat = write(key, data)
        if key == "manifest.json":
            write("checkpoints/run.json", b"of another")
            write("checkpoints/claims/00000/000001.json", b"of another")
        return stat

    monkeypatch.setattr(output.store, "write", then_another)
    output.finish(identity, {"counts": {"failed": 0}})
    assert output.store.keys("checkpoints") == ["checkpoints/claims/00000/000001.json", "checkpoints/run.json"]


@pytest.mark.parametrize("checks", [0, 1], ids=["before the tables", "before the record"])
def test_a_shard_that_was_taken_over_is_not_committed(output: RunDirectory, config: Config, checks: int) -> None:
    identity = output.begin(config, "input", SIZE)
    output.save_steps(0, "a", attempts("p"), USAGE)
    answers = iter([True] * checks + [False])
    with pytest.raises(ShardTaken):
        output.commit(0, identity, {"solutions": rows(1)}, {}, {}, lambda: next(answers))
    assert output.records().good == {}
    assert output.store.keys("shards") == []
    assert output.store.keys("solutions") == ["solutions/00000.parquet"] * checks
    assert len(output.store.keys("checkpoints/00000")) == 1
