"""The end of a run, and its failed rows taken up again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output.small_outputs import SIZE, USAGE, again, attempts, commit, content, folder, mistake, rows

from schemas.config import Config
from schemas.tables import SOLUTIONS, STEPS
from tasks.output.directory import RunDirectory
from tasks.output.run_files import shard_key
from tasks.storage.store import Store

Configured = Callable[..., Config]


def finish(output: RunDirectory, config: Config, failed: int = 0) -> dict[str, Any]:
    """A run of three shards, each with so many failed rows."""
    identity = commit(output, config, 0, 1, 2, failed=failed)
    return output.finish(identity, {"counts": {"failed": 3 * failed}})


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
