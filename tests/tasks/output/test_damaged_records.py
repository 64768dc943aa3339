"""Damaged records: what a reader may believe, whatever a crash or another program left there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from output.small_outputs import USAGE, again, attempts, commit, folder

from schemas.config import Config
from tasks.output.directory import RunDirectory
from tasks.storage.store import Stat, Store


def changed(whole: bytes, every: int = 1) -> Iterator[bytes]:
    """A content with one bit changed, of any of its bytes, and cut anywhere."""
    for at in range(0, len(whole), every):
        yield whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        yield whole[:at]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys that stores of this test read."""
    found: list[str] = []
    read = Store.read

    def noted(store: Store, key: str) -> bytes:
        found.append(key)
        return read(store, key)

    monkeypatch.setattr(Store, "read", noted)
    return found


# --- commits


@pytest.mark.parametrize("table", ["solutions/00001.parquet", "steps/00001.parquet"])
@pytest.mark.parametrize("harm", ["gone", "short", "long", "empty", "changed in place"])
def test_a_record_without_its_tables_is_reported_and_not_believed(
    output: RunDirectory, config: Config, table: str, harm: str
) -> None:
    commit(output, config, 0, 1)
    assert sorted(output.records().good) == [0, 1]
    path = folder(output) / table
    whole = path.read_bytes()
    other = {
        "short": whole[:-1],
        "long": whole + b"x",
        "empty": b"",
        "changed in place": whole[:99] + whole[100:] + b"x",
    }
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(other[harm])
    for reader in (output, again(output)):
        records = reader.records()
        assert sorted(records.good) == [0]
        assert len(records.damaged) == 1
        assert str(path) in records.damaged[0]
        assert reader.open_shards(2) == [1]


def test_tables_that_nobody_touched_are_not_read(output: RunDirectory, config: Config, reads: list[str]) -> None:
    commit(output, config, 0, 1)
    reads.clear()
    assert sorted(again(output).records().good) == [0, 1]
    assert sorted(reads) == ["shards/00000.json", "shards/00001.json"]


def test_a_copied_output_is_good_and_read_once(output: RunDirectory, config: Config, reads: list[str]) -> None:
    commit(output, config, 0, 1)
    shutil.copytree(folder(output), folder(output).parent / "copy", copy_function=shutil.copyfile)
    for path in (folder(output).parent / "copy").rglob("*.parquet"):
        os.utime(path, ns=(1, 1))
    copy = RunDirectory(Store(f"{output.store.root}/../copy"))
    reads.clear()
    for _ in range(3):
        records = copy.records()
        assert (sorted(records.good), records.damaged) == ([0, 1], [])
    assert sorted(reads) == sorted(set(reads))
    assert len(reads) == 2 + 4


def test_a_table_of_a_store_that_knows_no_versions_is_compared(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats, write = Store.stats, Store.write
    monkeypatch.setattr(Store, "write", lambda store, key, data: Stat(write(store, key, data).size, ""))
    monkeypatch.setattr(
        Store, "stats", lambda store, prefix: {key: Stat(stat.size, "") for key, stat in stats(store, prefix).items()}
    )
    commit(output, config, 0)
    assert sorted(again(output).records().good) == [0]
    path = folder(output) / "steps" / "00000.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert again(output).records().good == {}


def test_records_are_read_once_and_when_they_are_written_again(
    output: RunDirectory, config: Config, reads: list[str]
) -> None:
    """A process that waits for others asks every few seconds, for as long as those take."""
    commit(output, config, 0, 1)
    reader = again(output)
    for _ in range(3):
        reader.records()
    reads.clear()
    reader.records()
    assert reads == []
    commit(output, config, 1, failed=1)
    reads.clear()
    assert reader.records().good[1]["counts"]["failed"] == 1
    assert reads == ["shards/00001.json"]
    output.store.delete(["shards/00000.json"])
    assert sorted(reader.records().good) == [1]


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"checksum": ""}',
        b'{"tables": {}, "checksum": null}',
        b'{"tables": [], "shard": 1, "counts": {}}',
        b'{"tables": {"solutions": {}}, "shard": 1, "counts": {}}',
    ],
    ids=lambda written: repr(written[:20]),
)
def test_a_damaged_record_is_reported_and_not_believed(output: RunDirectory, config: Config, written: bytes) -> None:
    commit(output, config, 0, 1)
    (folder(output) / "shards" / "00001.json").write_bytes(written)
    records = output.records()
    assert sorted(records.good) == [0]
    assert records.damaged == [f"{folder(output)}/shards/00001.json is not a whole record"]
    assert output.record(1) is None
    output.check_same(config, "input")  # not to be taken for another version's


def test_another_shards_record_is_none_of_this(output: RunDirectory, config: Config) -> None:
    commit(output, config, 0)
    shutil.copy(folder(output) / "shards" / "00000.json", folder(output) / "shards" / "00001.json")
    records = output.records()
    assert sorted(records.good) == [0]
    assert records.damaged == [f"{folder(output)}/shards/00001.json is not a whole record"]


@pytest.fixture
def unparsed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares those who check an output again and again the reading of its configuration."""
    monkeypatch.setattr("tasks.configuration.parsing.parse_config", lambda *_: config)


@pytest.mark.usefixtures("unparsed")
def test_no_changed_byte_of_a_record_passes(output: RunDirectory, config: Config) -> None:
    commit(output, config, 0)
    path = folder(output) / "shards" / "00000.json"
    good = output.record(0)
    for other in changed(path.read_bytes(), every=3):
        path.write_bytes(other)
        records = output.records()
        assert records.good in ({}, {0: good})  # the same where only the space between two words changed
        assert len(records.damaged) == (not records.good)
        output.check_same(config, "input")


@pytest.mark.usefixtures("unparsed")
def test_no_changed_byte_of_manifest_or_run_passes(output: RunDirectory, config: Config) -> None:
    identity = commit(output, config, 0)
    run, path = output.run(), folder(output) / "checkpoints" / "run.json"
    for other in changed(path.read_bytes(), every=3):
        path.write_bytes(other)
        assert output.run() in (None, run)
        output.check_same(config, "input")
    manifest, path = output.finish(identity, {"counts": {"failed": 0}}), folder(output) / "manifest.json"
    for other in changed(path.read_bytes(), every=3):
        path.write_bytes(other)
        assert output.manifest() in (None, manifest)
        output.check_same(config, "input")


def test_foreign_files_among_the_records_do_no_harm(output: RunDirectory, config: Config) -> None:
    commit(output, config, 0)
    (folder(output) / "shards" / ".DS_Store").write_bytes(b"\x00\x01")
    records = output.records()
    assert sorted(records.good) == [0]
    assert all(".DS_Store" in fault for fault in records.damaged)


# --- checkpoints


def test_no_changed_byte_of_a_checkpoint_passes(output: RunDirectory) -> None:
    output.save_steps(0, "a", attempts("p"), USAGE)
    [key] = output.store.keys("checkpoints/00000")
    for other in changed(output.store.read(key), every=23):
        (folder(output) / key).write_bytes(other)
        assert output.load_steps(0) == ([], [])
