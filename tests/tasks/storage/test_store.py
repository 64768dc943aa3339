"""The store: the same behaviour on a local directory and on S3, and faults told with their path."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from listing import sizes

from schemas.config import StorageConfig
from tasks.errors import UserError
from tasks.storage import s3_files
from tasks.storage.faults import Retry
from tasks.storage.local_files import LocalFiles
from tasks.storage.store import LONGEST, Store
from tasks.storage.stores import Stores


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


# --- what is told


@pytest.mark.parametrize("path", ["gs://b/x", "http://host/x", "s3://", "s3:///x", "hdfs://x"])
def test_addresses_that_nobody_serves(path: str) -> None:
    for act in (lambda: Stores().locate(path), lambda: Store(path), lambda: Stores().open_input(path)):
        with pytest.raises(UserError) as caught:
            act()
        assert path.split("/")[0] in str(caught.value)


def told(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    return message


SECRET = "wJalrXUtnFEMIK7MDENG"


@pytest.mark.parametrize(
    "address",
    [
        f"s3://key:{SECRET}@bucket/runs/x",
        f"s3://{SECRET}@bucket/runs/x",
        f"s3://bucket/x?X-Amz-Signature={SECRET}",
        f"https://host/x?sig={SECRET}",
        f"ftp://user:{SECRET}@host/x",
    ],
)
@pytest.mark.parametrize("opened", [Store, lambda a: Stores().locate(a), lambda a: Stores().open_input(a)])
def test_an_address_with_credentials_is_refused_and_not_repeated(address: str, opened: Callable[[str], object]) -> None:
    with pytest.raises(UserError, match="an address of files holds credentials") as caught:
        opened(address)
    assert SECRET not in str(caught.value)


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(str(tmp_path / "file" / "out"))
    for act in (lambda: store.write("a", b""), lambda: store.create("a", b""), lambda: store.read("a")):
        assert f"{tmp_path}/file/out/a" in told(act)


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="needs /proc, a file system that takes no new files")
def test_a_place_where_nothing_can_be_made() -> None:
    assert "/proc/stepwave" in told(lambda: Store("/proc/stepwave/out").write("config.yaml", b""))


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_a_place_without_permission(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    store = Store(str(tmp_path / "locked" / "out"))
    assert "permission denied" in told(lambda: store.write("a", b""))


def test_names_that_no_file_system_takes(tmp_path: Path) -> None:
    assert "xxx" in told(lambda: Store(str(tmp_path / ("x" * 300))).read("config.yaml"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop" in told(lambda: Store(str(tmp_path / "loop")).read("config.yaml"))


def test_a_bucket_that_is_not_there(s3: str) -> None:
    store = Store(f"{s3}-none/x")
    assert store.read_or_none("config.yaml") is None
    assert f"{s3}-none/x/config.yaml" in told(lambda: store.write("config.yaml", b""))
    assert f"{s3}-none/x/config.yaml" in told(lambda: store.create("config.yaml", b""))


def test_no_credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = Store(f"{s3}/x")
    for act in (lambda: store.read("a"), lambda: store.keys(""), lambda: store.create("a", b"")):
        message = told(act)
        assert s3 in message
        assert "AWS_ACCESS_KEY_ID" in message
    assert "AWS_ACCESS_KEY_ID" in told(lambda: Stores().open_input(f"{s3}/p.parquet"))


def test_half_of_the_credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert s3 in told(lambda: Store(f"{s3}/x").read("a"))


def test_an_unknown_profile(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert s3 in told(lambda: Store(f"{s3}/x").read("a"))


def test_an_endpoint_that_is_no_address(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    assert "nonsense" in told(lambda: Store(f"{s3}/x").read("a"))


def test_the_configured_endpoint_counts_more_than_the_environments(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.environ["AWS_ENDPOINT_URL_S3"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store = Store(f"{s3}/x", StorageConfig(endpoint_url=here, region="us-east-1"))
    store.write("a", b"1")
    assert store.read("a") == b"1"


def test_listings_of_many_pages(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    monkeypatch.setattr(s3_files, "DELETE_AT_ONCE", 9)
    store = Store(f"{s3}/x")
    keys = [f"a/{n % 10}/{n:03d}" for n in range(50)]
    for key in keys:
        store.write(key, b"")
    store.write("b", b"")
    assert store.keys("a") == sorted(keys)
    assert store.keys("a/3") == [f"a/3/{n:03d}" for n in range(3, 50, 10)]
    files, at = Stores().locate(f"{s3}/x/a")
    assert files.children(at) == ([], [str(n) for n in range(10)])
    store.delete(keys[:20])
    assert store.keys("a") == sorted(keys[20:])
    store.delete_folder("a")
    assert store.keys("") == ["b"]


def test_more_than_a_thousand_keys(s3: str) -> None:
    store = Store(f"{s3}/x")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.write(f"a/{n}", b""), range(1005)))
    assert len(store.keys("")) == 1005
    store.delete_folder("a")
    assert store.keys("") == []


def test_only_the_files_of_the_root_are_seen(s3: str) -> None:
    store, beside = Store(f"{s3}/runs/x"), Store(f"{s3}/runs/x2")
    beside.write("a", b"")
    assert (store.keys(""), store.keys("a")) == ([], [])
    store.write("x/a", b"1")
    store.write("x-/a", b"1")
    assert store.keys("x") == ["x/a"]
    store.delete_folder("x")
    store.delete_folder("")
    assert (store.keys(""), beside.keys("")) == ([], ["a"])
    assert Store(s3).keys("") == ["runs/x2/a"]


def test_a_folder_marker_is_no_file(s3: str) -> None:
    import boto3

    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="runs/x/", Body=b"")
    assert Store(f"{s3}/runs/x").keys("") == []


def test_files_of_ones_own(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path / "elsewhere"), Retry())
    store = Store("memory", files=files)
    store.write("a", b"1")
    assert (tmp_path / "elsewhere" / "a").read_bytes() == b"1"
    assert store.path("a") == "memory/a"


def test_many_may_make_one_folder_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for n in range(50):
            store = Store(str(tmp_path / str(n)))
            list(pool.map(lambda i, store=store: store.write(f"a/b/{i}", b""), range(8)))
            assert len(store.keys("a")) == 8
