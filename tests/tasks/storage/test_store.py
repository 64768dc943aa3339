"""The store: the same behaviour on a local directory and on S3."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from listing import sizes

from tasks.errors import UserError
from tasks.storage.store import LONGEST, Store


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output that does not exist yet."""
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3") + "/runs/x"


@pytest.fixture
def store(root: str) -> Store:
    return Store(root)


def test_nothing_is_there_at_first(store: Store) -> None:
    assert store.keys("") == store.keys("shards") == []
    assert store.read_or_none("config.yaml") is None
    with pytest.raises(FileNotFoundError):
        store.read("config.yaml")
    store.delete(["config.yaml"])
    store.delete_folder("checkpoints/00000")


def test_write_read_replace(store: Store) -> None:
    store.write("a/b.json", b"one")
    assert store.read("a/b.json") == b"one"
    store.write("a/b.json", b"")
    assert store.read_or_none("a/b.json") == b""
    store.write("a/b.json", b"\x00" * 100_000)
    assert sizes(store, "a") == {"a/b.json": 100_000}


def test_a_file_of_several_parts(store: Store) -> None:
    content = os.urandom(1 << 20) * 12
    store.write("solutions/00000.parquet", content)
    assert store.read("solutions/00000.parquet") == content
    assert sizes(store, "") == {"solutions/00000.parquet": len(content)}


def test_keys_are_sorted_relative_and_of_all_depths(store: Store) -> None:
    for key in ("shards/00001.json", "config.yaml", "shards/00000.json", "checkpoints/00000/w.parquet"):
        store.write(key, key.encode())
    assert store.keys("shards") == ["shards/00000.json", "shards/00001.json"]
    assert store.keys("") == ["checkpoints/00000/w.parquet", "config.yaml", *store.keys("shards")]
    assert sizes(store, "shards") == {key: len(key) for key in store.keys("shards")}
    assert store.keys("shard") == []
    assert store.keys("config.yaml") == ["config.yaml"]
    assert store.keys("config") == store.keys("checkpoints/0") == []
    assert store.path("config.yaml") == f"{store.root}/config.yaml"


def test_another_stores_writes_are_seen(store: Store, root: str) -> None:
    other = Store(root + "/")
    assert store.keys("") == []
    other.write("a.json", b"1")
    assert store.keys("") == ["a.json"]
    other.write("a.json", b"22")
    assert sizes(store, "") == {"a.json": 2}
    store.delete(["a.json"])
    assert other.keys("") == []
    assert other.read_or_none("a.json") is None


def test_many_are_read_at_once(store: Store) -> None:
    contents = {f"a/{n:02d}": b"%d" % n for n in range(40)}
    for key, content in contents.items():
        store.write(key, content)
    found = store.read_many(["a/07", "a/99", *contents, "b"])
    assert found == contents
    assert next(iter(found)) == "a/07"
    assert store.read_many([]) == {}


def test_a_file_that_is_longer_than_any_of_its_kind_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LONGEST, ".json", 10)
    for key in ("a.json", "a.parquet"):
        store.write(key, b"x" * 11)
    with pytest.raises(UserError, match=r"a\.json: has more than 10 bytes"):
        store.read("a.json")
    with pytest.raises(UserError, match=r"a\.parquet: has more than 5 bytes"):
        store.read("a.parquet", 5)
    assert store.read("a.parquet", 11) == store.read("a.parquet") == b"x" * 11
    store.write("a.json", b"x" * 10)
    assert store.read("a.json") == b"x" * 10


def test_a_version_is_that_of_one_write(store: Store) -> None:
    versions = set()
    for n in range(20):
        written = store.write("a", b"%02d" % n)
        assert written.size == 2
        assert store.stats("") == store.stats("a") == {"a": written}
        versions.add(written.version)
    assert len(versions) == 20
    assert "" not in versions
    assert store.stats("b") == {}


def test_an_equal_content_counts_as_created(store: Store) -> None:
    """A lost answer cannot be told from it."""
    assert store.create("a", b"ours") is True
    assert store.create("a", b"ours") is True
    assert store.create("a", b"theirs") is False


def test_delete(store: Store) -> None:
    for n in range(3):
        store.write(f"checkpoints/00000/{n}.parquet", b"x")
    store.write("checkpoints/00001/0.parquet", b"x")
    store.delete(["checkpoints/00000/0.parquet", "checkpoints/00000/7.parquet", "checkpoints/00000/1.parquet"])
    assert store.keys("checkpoints/00000") == ["checkpoints/00000/2.parquet"]
    store.delete_folder("checkpoints/00000")
    assert store.keys("") == ["checkpoints/00001/0.parquet"]
    store.delete_folder("checkpoints")
    store.delete_folder("checkpoints")
    assert store.keys("") == []
    store.write("checkpoints/claims/00000/1.json", b"x")
    store.write("checkpoints/run.json", b"x")
    store.delete_folder("checkpoints/claims/00000")
    store.delete(["checkpoints/run.json"])
    assert not store.local or os.listdir(store.root) == [], "as in a bucket, no folder is left without a file"
    store.delete([])


def test_create_leaves_what_is_there(store: Store) -> None:
    assert store.create("config.yaml", b"first") is True
    assert store.create("config.yaml", b"second") is False
    assert store.read("config.yaml") == b"first"
    store.delete(["config.yaml"])
    assert store.create("config.yaml", b"third") is True


def test_create_has_one_winner(root: str) -> None:
    stores = [Store(root) for _ in range(8)]
    for turn in range(5):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n, turn=turn: stores[n].create(f"lease-{turn}", b"%d" % n), range(8)))
        assert sum(won) == 1
        assert stores[0].read(f"lease-{turn}") == b"%d" % won.index(True)


def test_an_unfinished_local_write_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "out"))
    store.write("a.json", b"old")

    def power_cut(fd: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            store.write("a.json", b"new")
    assert store.read("a.json") == b"old"
    (tmp_path / "out" / "b.json.1234.tmp").write_bytes(b"half")  # what a killed process leaves
    assert store.keys("") == ["a.json"]
