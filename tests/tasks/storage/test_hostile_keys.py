"""A bucket whose objects have names that lead elsewhere on a disk, or speak to terminals: they are names, no paths."""

from __future__ import annotations

import contextlib
from pathlib import Path

import boto3
import pytest

from tasks.errors import StoreError, UserError
from tasks.output.directory import RunDirectory
from tasks.problems.files import list_files
from tasks.storage.store import Store
from tasks.storage.stores import Stores

NAMES = [
    "../../up",
    "/etc/absolute",
    "a/../../b",
    "a//b",
    "./c",
    "x\x1b[2Jy",
    "nul\x01",
    "\u202ertl",
    "%2e%2e/p",
]


@pytest.fixture
def bucket(s3: str) -> str:
    client = boto3.client("s3")
    for name in NAMES:
        for folder in ("in/", "shards/", "checkpoints/claims/00000/", "runs/"):
            client.put_object(Bucket=s3.removeprefix("s3://"), Key=f"{folder}{name}.parquet", Body=name.encode())
    return s3


def test_nothing_is_written_beside(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    store = Store(bucket, patience=1)
    output = RunDirectory(store)
    assert output.records().good == {}
    for line in output.records().damaged:
        assert line
    assert sorted(store.keys("in")) == sorted(f"in/{name}.parquet" for name in NAMES)
    store.sweep()
    with contextlib.suppress(StoreError):  # XML has no way to write some of them
        store.delete_folder("runs")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert len(store.keys("in")) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_read_as_itself_or_told(name: str, bucket: str) -> None:
    store = Store(bucket, patience=1)
    with contextlib.suppress(UserError, StoreError, FileNotFoundError):
        assert store.read(f"in/{name}.parquet") == name.encode()


def test_what_lists_them_tells_them_in_a_line(bucket: str) -> None:
    with pytest.raises(UserError) as told:
        RunDirectory(Store(bucket, patience=1)).config()
    assert str(told.value).isprintable()
    stores = Stores(patience=5)
    for path in list_files(f"{bucket}/in", stores):
        with contextlib.suppress(UserError, StoreError, OSError), stores.open_input(path) as f:
            assert f.read().decode() in NAMES
