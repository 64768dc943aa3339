"""A disk that refuses, at each call that a write makes and in each way: what is there stays whole, nothing half written
is left, the fault is told in a line or ridden out, and the same write works afterwards."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import StoreError, UserError
from tasks.storage import faults, local_files
from tasks.storage.store import Store

TELLS = {
    errno.EIO: "Input/output error",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "Read-only file system",
    errno.EACCES: "permission denied",
    errno.EMFILE: "Too many open files",
    errno.ESTALE: "tale file handle",
}
PASSES = {errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT}
CALLS = ("mkdir", "open", "write", "flush", "close", "fsync", "publish", "fsync of the folder")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT", "LONGEST_WAIT"):
        monkeypatch.setattr(faults, name, 0.001)


class Refusing:
    """A file, one of whose calls fails."""

    def __init__(self, f: Any, call: str, refuse: Callable[..., None]) -> None:
        self.f, self.call, self.refuse = f, call, refuse

    def __enter__(self) -> Refusing:
        return self

    def __exit__(self, *_: object) -> None:
        self.f.close()
        if self.call == "close":
            self.refuse()

    def __getattr__(self, name: str) -> Any:
        def act(*arguments: Any) -> Any:
            if name == self.call:
                self.refuse(self.f)
            return getattr(self.f, name)(*arguments)

        return act


@contextmanager
def refusing(call: str, number: int, times: int, links: bool = True) -> Iterator[None]:
    """The first so many of these calls fail with an errno. `links`: does the file system have hard links."""
    left = [times]

    def refuse(f: Any = None) -> None:
        if left[0]:
            left[0] -= 1
            if f:
                f.write(b"ha")  # something of it is there already
            raise OSError(number, os.strerror(number))

    def first(real: Callable[..., Any], wanted: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            if wanted(*arguments):
                refuse()
            return real(*arguments, **options)

        return act

    def no_link(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def opened(path: Any, mode: str = "r", *more: Any) -> Any:
        if "x" not in mode:
            return builtins.open(path, mode, *more)
        if call == "open":
            refuse()
        return Refusing(builtins.open(path, mode, *more), call, refuse)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_files, "open", opened, raising=False)
        if call == "mkdir":
            patch.setattr(os, "mkdir", first(os.mkdir))
        elif call == "publish":
            patch.setattr(os, "replace", first(os.replace))
            patch.setattr(os, "link", first(os.link))
        elif call == "fsync of the folder":
            patch.setattr(local_files, "_sync_folder", first(local_files._sync_folder, lambda p: p.endswith("/a")))
        elif call == "fsync":
            patch.setattr(os, "fsync", first(os.fsync, lambda handle: os.path.isfile(f"/proc/self/fd/{handle}")))
        if not links:
            patch.setattr(os, "link", no_link)
        yield


@pytest.mark.parametrize("number", TELLS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("act", ["write", "create", "create without links"])
def test_what_is_there_stays_whole(act: str, call: str, number: int, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"), patience=0, say=lambda line: None)
    store.write("other", b"other")
    if act == "write" and call != "mkdir":
        store.write("a/b", b"old")
    do = store.write if act == "write" else store.create
    with refusing(call, number, 10**6, "without" not in act), pytest.raises((UserError, StoreError)) as told:
        do("a/b", b"new" * 100)
    assert TELLS[number] in str(told.value)
    assert str(told.value).startswith(f"{tmp_path}/out/a/b: ")
    assert str(told.value).isprintable()
    assert isinstance(told.value, StoreError) == (number in PASSES)
    there = store.read_or_none("a/b")
    # a name that may be lost in a power cut is there all the same
    assert there == b"new" * 100 if call == "fsync of the folder" else there in (None, b"old")
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {"other", "b"}
    do("a/b", b"new" * 100)
    assert store.read("a/b") == b"new" * 100


@pytest.mark.parametrize("number", PASSES, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("act", ["write", "create", "create without links"])
def test_what_passes_is_ridden_out(act: str, call: str, number: int, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"), say=lambda line: None)
    with refusing(call, number, 2, "without" not in act):
        assert (store.write if act == "write" else store.create)("a/b", b"new")
    assert store.read("a/b") == b"new"
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"b"}
