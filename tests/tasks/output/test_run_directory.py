"""A run's output: what a reader may believe, whatever a crash or another program left there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import Config
from schemas.tables import SOLUTIONS, STEPS
from tasks.configuration.identity import kept, settings
from tasks.configuration.parsing import dump_config
from tasks.errors import UserError
from tasks.output.directory import Identity, RunDirectory, ShardTaken
from tasks.output.made_with import made_with
from tasks.output.run_files import shard_key, text_digest
from tasks.storage.sealed import FORMAT
from tasks.storage.store import Stat, Store

Configured = Callable[..., Config]
USAGE = {"draft": {"requests": 1, "generated": 2, "prefilled": 3, "cached": 4}}
SIZE = {"shards": 3, "solutions": 9}


@pytest.fixture
def config(configured: Configured) -> Config:
    return configured()


@pytest.fixture
def output(config: Config) -> RunDirectory:
    return RunDirectory(Store(config.output.path))


def again(output: RunDirectory) -> RunDirectory:
    """The same output as another process sees it."""
    return RunDirectory(Store(output.store.root))


def folder(output: RunDirectory) -> Path:
    return Path(output.store.root)


def rows(n: int) -> pa.Table:
    return pa.table({"x": list(range(n))})


def attempts(*problems: str) -> pa.Table:
    values = {name: [None] * len(problems) for name in STEPS.names} | {
        "problem_id": list(problems),
        **dict.fromkeys(("run_id", "role", "text"), ["x"] * len(problems)),
        **dict.fromkeys(("shard", "sample", "step", "attempt", "tokens", "wave", "seed"), [0] * len(problems)),
        **dict.fromkeys(("prm_tokens", "proposed"), [0] * len(problems)),
        "token_ids": [[1, 2]] * len(problems),
        "accepted": [True] * len(problems),
        "finish": ["step"] * len(problems),
    }
    return pa.table(values, schema=STEPS)


def commit(output: RunDirectory, config: Config, *shards: int, failed: int = 0) -> Identity:
    identity = output.begin(config, "input", SIZE)
    for shard in shards:
        output.store.delete([f"shards/{shard:05d}.json"])  # as where it is to be made again
        tables = {"solutions": rows(3), "steps": attempts("p", "q")}
        output.commit(shard, identity, tables, {"solutions": 3, "failed": failed}, USAGE)
    return identity


def finish(output: RunDirectory, config: Config, failed: int = 0) -> dict[str, Any]:
    """A run of three shards, each with so many failed rows."""
    identity = commit(output, config, 0, 1, 2, failed=failed)
    return output.finish(identity, {"counts": {"failed": 3 * failed}})


def content(output: RunDirectory) -> dict[str, bytes]:
    return {key: output.store.read(key) for key in output.store.keys("")}


def changed(whole: bytes, every: int = 1) -> Iterator[bytes]:
    """A content with one bit changed, of any of its bytes, and cut anywhere."""
    for at in range(0, len(whole), every):
        yield whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        yield whole[:at]


def mistake(act: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_steps_come_back_as_they_were_kept(output: RunDirectory) -> None:
    assert output.load_steps(0) == ([], [])
    output.save_steps(0, "s-0000-00000", attempts("p", "q"), USAGE)
    output.save_steps(0, "s-0001-00000", attempts("r"), {})
    output.save_steps(1, "s-0000-00000", attempts("of another shard"), USAGE)
    found, usages = output.load_steps(0)
    assert found == attempts("p", "q").to_pylist() + attempts("r").to_pylist()
    assert usages == [USAGE, {}]


def test_what_is_kept_twice_under_a_name_is_there_twice_only_if_it_differs(output: RunDirectory) -> None:
    for table in (attempts("p"), attempts("p"), attempts("q")):
        output.save_steps(0, "s", table, USAGE)
    assert sorted(row["problem_id"] for row in output.load_steps(0)[0]) == ["p", "q"]


def test_damaged_checkpoints_count_as_not_written(output: RunDirectory) -> None:
    output.save_steps(0, "b", attempts("p"), USAGE)
    [key] = output.store.keys("checkpoints/00000")
    place, whole = folder(output) / "checkpoints" / "00000", output.store.read(key)
    digest = Path(key).stem.removeprefix("b-")
    (place / f"a-{digest}.parquet").write_bytes(b"")
    (place / f"c-{digest}.parquet").write_bytes(whole[: len(whole) // 2])
    (place / "d.parquet").write_bytes(whole)
    (place / f"e-{digest[:-1]}.parquet").write_bytes(whole)
    pq.write_table(attempts("without a digest"), place / "f.parquet")
    found, usages = output.load_steps(0)
    assert [row["problem_id"] for row in found] == ["p"]
    assert usages == [USAGE]


def test_no_changed_byte_of_a_checkpoint_passes(output: RunDirectory) -> None:
    output.save_steps(0, "a", attempts("p"), USAGE)
    [key] = output.store.keys("checkpoints/00000")
    for other in changed(output.store.read(key), every=23):
        (folder(output) / key).write_bytes(other)
        assert output.load_steps(0) == ([], [])


# --- a shard to be made


def test_a_shard_without_a_record_is_open(output: RunDirectory, config: Config) -> None:
    output.begin(config, "input", SIZE)
    output.save_steps(0, "a", attempts("p"), USAGE)
    before = content(output)
    assert output.open_shard(0)
    assert content(output) == before


def test_a_good_shard_is_done(output: RunDirectory, config: Config) -> None:
    commit(output, config, 0, failed=1)
    before = content(output)
    assert not output.open_shard(0)
    assert content(output) == before


def test_a_damaged_record_is_removed(output: RunDirectory, config: Config) -> None:
    commit(output, config, 0)
    (folder(output) / "shards" / "00000.json").write_bytes(b"{")
    assert output.open_shard(0)
    assert output.store.keys("shards") == []


@pytest.mark.parametrize("harm", [b"", None, b"PAR1"], ids=["empty", "gone", "other"])
def test_steps_of_a_shard_without_its_solutions_are_not_made_again(
    output: RunDirectory, config: Config, harm: bytes | None
) -> None:
    commit(output, config, 0, 1)
    path = folder(output) / "solutions" / "00000.parquet"
    path.unlink() if harm is None else path.write_bytes(harm)
    for _ in range(2):  # a process that ends in between does no harm
        assert output.open_shard(0)
        assert output.store.keys("shards") == ["shards/00001.json"]
        assert output.load_steps(0) == (attempts("p", "q").to_pylist(), [USAGE])


def test_steps_that_are_damaged_themselves_are_made_again(output: RunDirectory, config: Config) -> None:
    commit(output, config, 0)
    (folder(output) / "steps" / "00000.parquet").write_bytes(b"PAR1")
    output.save_steps(0, "left", attempts("p"), {})
    assert output.open_shard(0)
    assert output.store.keys("shards") == []
    assert output.load_steps(0) == (attempts("p").to_pylist(), [{}])


def test_what_a_commit_left_is_not_counted_twice(output: RunDirectory, config: Config) -> None:
    """A process that ends between a shard's record and the end of its commit leaves checkpoints."""
    commit(output, config, 0)
    output.save_steps(0, "left", attempts("p"), USAGE)
    (folder(output) / "solutions" / "00000.parquet").unlink()
    assert output.open_shard(0)
    assert output.load_steps(0) == (attempts("p", "q").to_pylist(), [USAGE])


def test_a_record_is_there_until_its_steps_are_kept(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(output, config, 0)
    (folder(output) / "solutions" / "00000.parquet").unlink()

    def crash(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output.store, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            output.open_shard(0)
    assert output.record(0) is not None
    assert output.open_shard(0)
    assert output.load_steps(0) == (attempts("p", "q").to_pylist(), [USAGE])


def test_failed_rows_are_tried_again_once_when_asked(output: RunDirectory, config: Config) -> None:
    identity = output.begin(config, "input", SIZE)
    for shard, failed in enumerate((0, 2)):
        tables = {"solutions": rows(2), "steps": attempts("p", "q")}
        output.commit(shard, identity, tables, {"failed": failed}, USAGE)
    assert output.open_shards(2) == []
    output.finish(identity, {"counts": {"failed": 2}})
    output.begin(config, "input", SIZE, retry_failed=True)
    assert output.open_shards(2) == [1]
    assert [output.open_shard(shard) for shard in (0, 1)] == [False, True]
    assert output.load_steps(1) == (attempts("p", "q").to_pylist(), [USAGE])
    output.commit(1, identity, {"solutions": rows(2), "steps": attempts("p", "q")}, {"failed": 1}, USAGE)
    assert output.open_shards(2) == []
    assert not output.open_shard(1)


# --- whose output it is


def test_the_same_configuration_and_input_are_welcome_again(
    output: RunDirectory, config: Config, configured: Configured
) -> None:
    first = output.begin(config, "input", SIZE)
    before = content(output)
    others = configured("run.cohort_size=3", "run.cohorts=1", "run.checkpoint_seconds=9", "run.store_patience=1")
    assert again(output).begin(others, "input", SIZE) == first
    assert content(output) == before
    assert before["config.yaml"].decode() == dump_config(config)
    assert output.run() == {
        "format": FORMAT,
        "run_id": first.run_id,
        "config_fingerprint": first.config,
        "input_fingerprint": "input",
        "config_yaml": text_digest(before["config.yaml"]),
        "identity": {"settings": kept(settings(config)), "models": {}},
        "made_with": made_with(),
        "retries": 0,
        "token": output.token(first),
        **SIZE,
    }


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
    output: RunDirectory, config: Config, configured: Configured, change: str, told: str
) -> None:
    output.begin(config, "input", SIZE)
    before, other = content(output), configured(change)
    for act in (
        lambda: output.check_same(other),
        lambda: output.begin(other, "input", SIZE),
        lambda: output.begin(other, "input", SIZE, retry_failed=True),
    ):
        message = mistake(act)
        assert str(folder(output)) in message
        assert told in message
    assert content(output) == before


@pytest.mark.parametrize("state", ["begun", "a shard done", "complete"])
def test_another_input_is_refused(output: RunDirectory, config: Config, state: str) -> None:
    identity = commit(output, config, *([] if state == "begun" else [0]))
    if state == "complete":
        output.finish(identity, {"counts": {"failed": 1}})
    if state == "a shard done":
        output.store.delete(["checkpoints/run.json"])
    output.check_same(config)
    output.check_same(config, "input")
    before = content(output)
    for act in (
        lambda: output.check_same(config, "changed"),
        lambda: output.begin(config, "changed", SIZE),
        lambda: output.begin(config, "changed", SIZE, retry_failed=True),
    ):
        message = mistake(act)
        assert "another input" in message
        assert str(folder(output)) in message
    assert content(output) == before


def sealed(value: dict[str, Any]) -> bytes:
    checksum = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return json.dumps(value | {"checksum": checksum}).encode()


FIRST = {"format": 1, "run_id": "x", "input_fingerprint": "input", "shard": 0, "tables": {}, "counts": {}}


@pytest.mark.parametrize("key", ["checkpoints/run.json", "manifest.json", "shards/00000.json"])
@pytest.mark.parametrize(
    ("written", "number"), [(json.dumps(FIRST).encode(), 1), (sealed(FIRST | {"format": FORMAT + 1}), FORMAT + 1)]
)
def test_another_versions_run_is_refused_and_left_alone(
    output: RunDirectory, config: Config, key: str, written: bytes, number: int
) -> None:
    """Its records are not damaged; nothing of it is to be made again."""
    output.store.write("config.yaml", dump_config(config).encode())
    output.store.write(key, written)
    before = content(output)
    for act in (
        lambda: output.check_same(config),
        lambda: output.begin(config, "input", SIZE),
        lambda: output.begin(config, "input", SIZE, retry_failed=True),
    ):
        message = mistake(act)
        assert str(folder(output)) in message
        assert f"another version of Stepwave wrote (format {number}, here {FORMAT})" in message
    assert content(output) == before


def test_a_directory_of_other_files_is_refused_and_left_alone(output: RunDirectory, config: Config) -> None:
    folder(output).mkdir()
    (folder(output) / "thesis.tex").write_text("years of work")
    for act in (lambda: output.check_same(config), lambda: output.begin(config, "input", SIZE)):
        message = mistake(act)
        assert "thesis.tex" in message
        assert str(folder(output)) in message
    assert [p.name for p in folder(output).iterdir()] == ["thesis.tex"]


def test_an_empty_directory_is_taken(output: RunDirectory, config: Config) -> None:
    folder(output).mkdir()
    output.begin(config, "input", SIZE)


@pytest.mark.parametrize("written", [b"", b"input: [", b"\xff\xfe", b"input: {path: x}\n", b"- 1\n"])
def test_a_damaged_configuration_is_told(output: RunDirectory, config: Config, written: bytes) -> None:
    output.begin(config, "input", SIZE)
    (folder(output) / "config.yaml").write_bytes(written)
    message = mistake(lambda: output.check_same(config))
    assert str(folder(output) / "config.yaml") in message
    assert "output.path" in message


def test_one_that_begins_while_another_does_is_no_stranger(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's first file appears between two looks at the output."""
    keys = output.store.keys
    monkeypatch.setattr(
        output.store, "keys", lambda prefix: (again(output).begin(config, "input", SIZE), keys(prefix))[1]
    )
    output.check_same(config, "input")


def test_of_many_that_begin_at_once_one_owns_the_output(configured: Configured) -> None:
    configs = [configured(f"decoding.seed={n}") for n in range(8)]

    def begin(config: Config) -> bool:
        try:
            RunDirectory(Store(config.output.path)).begin(config, "input", SIZE)
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(begin, configs))
    assert sum(won) == 1
    winner = RunDirectory(Store(configs[0].output.path))
    identity = winner.begin(configs[won.index(True)], "input", SIZE)
    assert (winner.run() or {})["run_id"] == identity.run_id


def test_a_damaged_run_file_is_written_again(output: RunDirectory, config: Config) -> None:
    identity = output.begin(config, "input", SIZE)
    before, token = output.run() or {}, output.token(identity)
    (folder(output) / "checkpoints" / "run.json").write_bytes(b"{")
    assert output.run() is None
    output.begin(config, "input", SIZE)
    assert output.run() == before | {"token": output.token(identity)}
    assert output.token(identity) != token


# --- failed rows taken up again


def test_a_run_that_has_not_finished_has_nothing_to_retry(output: RunDirectory, config: Config) -> None:
    for shards in ([], [0], [0, 1, 2]):
        commit(output, config, *shards, failed=1)
        assert "has not finished" in mistake(lambda: output.begin(config, "input", SIZE, retry_failed=True))
        assert output.retries() == 0
        assert sorted(output.records().good) == shards


def test_a_run_without_failures_has_nothing_to_retry(output: RunDirectory, config: Config) -> None:
    manifest, before = finish(output, config), content(output)
    output.begin(config, "input", SIZE, retry_failed=True)
    assert output.manifest() == manifest
    assert content(output) == before


def test_a_finished_run_is_opened_for_its_failed_rows(output: RunDirectory, config: Config) -> None:
    finish(output, config, failed=1)
    before = content(output)
    output.begin(config, "input", SIZE, retry_failed=True)
    assert output.manifest() is None
    assert output.retries() == 1
    assert output.open_shards(3) == [0, 1, 2]
    after = content(output)
    assert after.keys() - before.keys() == {"checkpoints/run.json"}
    assert before.keys() - after.keys() == {"manifest.json"}
    assert all(after[key] == before[key] for key in after.keys() & before.keys())


def test_asking_twice_asks_once(output: RunDirectory, config: Config) -> None:
    """As the same command does, run again after it was stopped; without the option it goes on as well."""
    finish(output, config, failed=1)
    for retry_failed in (True, True, False):
        output.begin(config, "input", SIZE, retry_failed)
        assert (output.retries(), output.manifest()) == (1, None)


def test_each_time_counts(output: RunDirectory, config: Config) -> None:
    finish(output, config, failed=1)
    for times in (1, 2, 3):
        output.begin(config, "input", SIZE, retry_failed=True)
        assert (output.retries(), output.open_shards(3)) == (times, [0, 1, 2])
        for shard in range(3):
            assert output.open_shard(shard)
        assert finish(output, config, failed=1)["retries"] == times
        assert output.open_shards(3) == []


def test_a_retry_that_was_stopped_before_it_began_has_not_begun(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two writes that open a finished run, its manifest stands."""
    manifest = finish(output, config, failed=1)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output.store, "delete", crash)
        with pytest.raises(KeyboardInterrupt):
            output.begin(config, "input", SIZE, retry_failed=True)
    output.begin(config, "input", SIZE)
    assert output.manifest() == manifest
    assert output.records().open(3, manifest["retries"]) == []
    output.begin(config, "input", SIZE, retry_failed=True)
    assert (output.retries(), output.manifest()) == (1, None)


def test_a_manifest_that_forgot_how_often_does_not_matter(output: RunDirectory, config: Config) -> None:
    """One that was damaged is written again, by a run that finds all done."""
    finish(output, config, failed=1)
    output.begin(config, "input", SIZE, retry_failed=True)
    finish(output, config, failed=1)
    (folder(output) / "manifest.json").write_bytes(b"{")
    output.finish(output.begin(config, "input", SIZE), {"counts": {"failed": 3}})
    output.begin(config, "input", SIZE, retry_failed=True)
    assert output.open_shards(3) == [0, 1, 2]


def test_a_run_whose_records_are_all_damaged_can_be_retried(output: RunDirectory, config: Config) -> None:
    finish(output, config, failed=1)
    for path in (folder(output) / "steps").iterdir():
        path.unlink()
    output.begin(config, "input", SIZE, retry_failed=True)
    assert (output.retries(), output.open_shards(3)) == (1, [0, 1, 2])


# --- the end


def test_the_manifest_ends_a_run(output: RunDirectory, config: Config) -> None:
    identity = commit(output, config, 0)
    assert output.manifest() is None
    manifest = output.finish(identity, {"counts": {"solutions": 3, "failed": 0}})
    there = json.loads((folder(output) / "manifest.json").read_text())
    assert there.pop("checksum")
    assert manifest == output.manifest() == there
    assert manifest["run_id"] == identity.run_id
    assert output.store.keys("checkpoints") == []
    assert output.run() is None


def test_the_manifest_is_durable_before_anything_is_dropped(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = commit(output, config, 0)
    tidy = output.tidy

    def noted() -> None:
        assert again(output).manifest() is not None
        tidy()

    monkeypatch.setattr(output, "tidy", noted)
    output.finish(identity, {})
    assert output.store.keys("checkpoints") == []


def test_tidying_drops_what_only_an_unfinished_run_needs(output: RunDirectory, config: Config) -> None:
    finish(output, config)
    before = content(output)
    output.save_steps(1, "left", attempts("p"), USAGE)
    for key in ("run.json", "sessions/abc.json", "claims/00001/000001.json"):
        output.store.write(f"checkpoints/{key}", b"{}")
    for _ in range(2):
        output.tidy()
        assert content(output) == before


def test_a_complete_run_that_is_damaged_is_opened_again(output: RunDirectory, config: Config) -> None:
    manifest = finish(output, config, failed=1)
    (folder(output) / "steps" / "00001.parquet").unlink()
    identity = output.begin(config, "input", SIZE)
    assert output.records().open(3, manifest["retries"]) == [1]
    output.reopen(identity, SIZE)
    assert output.manifest() is None
    assert output.run() is not None
    assert output.open_shards(3) == [1]


def test_the_run_id_depends_on_configuration_and_input_alone(configured: Configured, tmp_path: Path) -> None:
    def begin(name: str, given: str) -> str:
        config = configured(output=str(tmp_path / name))
        return RunDirectory(Store(config.output.path)).begin(config, given, SIZE).run_id

    assert begin("here", "input") == begin("there", "input") != begin("elsewhere", "other input")


def test_shard_keys_sort() -> None:
    assert [shard_key(n) for n in (0, 12, 99999)] == ["shards/00000.json", "shards/00012.json", "shards/99999.json"]


def test_every_column_is_described() -> None:
    for schema in (SOLUTIONS, STEPS):
        assert all(field.metadata and field.metadata[b"description"] for field in schema)


# --- what those know who go by names alone


def test_shards_without_a_record_or_with_a_stale_one_are_unmade(output: RunDirectory, config: Config) -> None:
    identity = output.begin(config, "input", SIZE)
    for shard in (0, 1):
        output.commit(shard, identity, {"solutions": rows(1), "steps": rows(1)}, {"failed": 0}, {})
    (folder(output) / "steps" / "00001.parquet").unlink()
    found = output.records()
    assert found.open(3, 0) == [1, 2]
    assert output.unmade(3, output.stale()) == [2]
    output.keep_stale([1, 2])
    other = again(output)
    assert other.unmade(3, other.stale()) == [1, 2]
    stale = other.stale()
    assert other.open_shard(1)
    assert other.unmade(3, stale) == [1, 2]
    other.commit(1, identity, {"solutions": rows(2), "steps": rows(2)}, {"failed": 0}, {})
    assert other.unmade(3, stale) == output.unmade(3, stale) == [2]


def test_a_damaged_list_of_stale_records_says_nothing(output: RunDirectory, config: Config) -> None:
    output.begin(config, "input", SIZE)
    output.keep_stale([])
    (folder(output) / "checkpoints" / "stale.json").write_bytes(b"{")
    assert output.stale() == {}


def test_each_opening_of_a_run_has_a_token_of_its_own(output: RunDirectory, config: Config) -> None:
    identity = output.begin(config, "input", SIZE)
    tokens = [output.token(identity), again(output).token(identity)]
    assert tokens[0] == tokens[1]
    shutil.rmtree(folder(output))
    output.begin(config, "input", SIZE)
    assert output.token(identity) != tokens[0]


def test_tidying_drops_what_a_write_that_was_cut_off_left(output: RunDirectory, config: Config) -> None:
    """A process that is killed while it claims a shard leaves a file that no listing has."""
    identity = output.begin(config, "input", SIZE)
    output.finish(identity, {})
    claims = Path(output.store.path("checkpoints/claims/00016"))
    claims.mkdir(parents=True)
    (claims / "000001.json.92373fd4.tmp").write_bytes(b"{")
    output.tidy()
    assert not claims.parents[1].exists()
