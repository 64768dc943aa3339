"""Faults of local disks: what passes is ridden out, what is there stays whole. The full disk is a real, small one."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from listing import sizes

from tasks.errors import StoreError, UserError
from tasks.problems.files import list_files
from tasks.storage import faults, local_files
from tasks.storage.store import Store
from tasks.storage.stores import Stores


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(faults, "LONGEST_WAIT", 0.05)


@pytest.fixture
def said() -> list[str]:
    return []


@contextlib.contextmanager
def failing(name: str, *numbers: int, module: Any = os) -> Iterator[list[int]]:
    """The first calls of a system function fail with these errors."""
    left = list(numbers)
    real = getattr(module, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if left:
            number = left.pop(0)
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, call)
        yield left


@pytest.mark.parametrize("name", ["fsync", "replace", "mkdir", "open"])
def test_a_disk_that_fails_for_a_moment(name: str, tmp_path: Path, said: list[str]) -> None:
    store = Store(str(tmp_path / "out"), say=said.append)
    with failing(name, errno.EIO, errno.ESTALE, errno.EBUSY) as left:
        store.write("a/b", b"1")
        assert not left
    assert store.read("a/b") == b"1"
    assert os.listdir(tmp_path / "out" / "a") == ["b"]
    assert said[0] == f"{tmp_path}/out/a/b: Input/output error; trying again for another 300 s"
    assert "works again" in said[1]


@pytest.mark.parametrize("name", ["fsync", "link"])
def test_creating_on_a_disk_that_fails_for_a_moment(name: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    store.write("x", b"")
    with failing(name, errno.EIO, errno.ETIMEDOUT):
        assert store.create("a", b"1") is True
    with failing(name, errno.EIO, errno.ETIMEDOUT):
        assert store.create("a", b"2") is False
    assert (store.read("a"), store.keys("")) == (b"1", ["a", "x"])


def test_a_folder_that_cannot_be_listed_is_not_empty(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"), patience=0.2, say=lambda line: None)
    for key in ("a/1", "b/1"):
        store.write(key, b"")
    with failing("scandir", errno.EIO, errno.ESTALE):
        assert store.keys("") == ["a/1", "b/1"]
    real = os.scandir

    def broken(path: str) -> Any:
        if str(path).endswith("/b"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", broken)
        with pytest.raises(StoreError, match=r"Input/output error; tried again for \d s"):
            store.keys("")
        with pytest.raises(StoreError):
            list_files(f"{tmp_path}/out/*/1", Stores(patience=0.2))


def test_a_mistake_of_ours_is_no_fault() -> None:
    assert local_files.judge(KeyError("x")) is None


def test_the_first_error_is_told_where_the_temporary_file_cannot_be_removed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"), patience=0, say=lambda line: None)
    store.write("a", b"old")
    with failing("fsync", errno.EIO), failing("unlink", errno.EROFS), pytest.raises(StoreError, match="Input/output"):
        store.write("a", b"new")
    assert (store.read("a"), store.keys("")) == (b"old", ["a"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB and 20 files and folders."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_and_leaves_what_is_there(
    small_disk: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FULL_PATIENCE", 0.4)
    store = Store(str(small_disk / "out"), say=said.append)
    store.write("a", b"old" * 1000)
    began = time.monotonic()
    for act in (store.write, store.create):
        for key in ("a", "new/b"):
            if act == store.create and key == "a":
                continue
            with pytest.raises(StoreError, match=rf"out/{key}: the disk is full; tried again for \d s"):
                act(key, bytes(2 << 20))
    assert 1.2 <= time.monotonic() - began < 15
    assert store.read("a") == b"old" * 1000
    assert [p.name for p in small_disk.rglob("*") if p.is_file()] == ["a"]
    assert "the disk is full; trying again" in said[0]


def test_a_full_disk_that_is_cleared_in_time(small_disk: Path, said: list[str]) -> None:
    store = Store(str(small_disk / "out"))
    (small_disk / "other").write_bytes(bytes(900_000))
    store.retry.say = lambda line: (said.append(line), (small_disk / "other").unlink(missing_ok=True))
    store.write("a", bytes(500_000))
    assert sizes(store, "") == {"a": 500_000}
    assert len(said) == 2


def test_a_disk_without_inodes_is_told_as_such(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FULL_PATIENCE", 0.1)
    store = Store(str(small_disk / "out"), say=lambda line: None)
    store.write("a", b"old")
    with contextlib.suppress(OSError):
        for number in range(99):
            (small_disk / str(number)).touch()
    for act, key in ((store.write, "a"), (store.write, "new/b"), (store.create, "c")):
        with pytest.raises(StoreError, match=rf"out/{key}: the disk has no room for another file .its inodes"):
            act(key, b"new")
    assert (store.read("a"), store.keys("")) == (b"old", ["a"])


def test_a_disk_that_is_remounted_read_only(small_disk: Path) -> None:
    store = Store(str(small_disk / "out"), say=lambda line: None)
    store.write("a", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    acts: list[Callable[[], object]] = [
        lambda: store.write("a", b"new"),
        lambda: store.create("b", b"new"),
        lambda: store.write("c/d", b"new"),
        lambda: store.delete(["a"]),
        lambda: store.delete_folder(""),
    ]
    for act in acts:
        with pytest.raises(UserError, match="Read-only file system"):
            act()
    store.sweep()
    assert (store.read("a"), store.keys("")) == (b"old", ["a"])
