"""Shards to be made, and the checkpoints from which they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from output.small_outputs import SIZE, USAGE, attempts, commit, content, folder, rows

from schemas.config import Config
from tasks.output.directory import RunDirectory

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
