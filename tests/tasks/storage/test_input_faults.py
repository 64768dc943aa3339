"""Inputs on a store with faults."""

from __future__ import annotations

import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from proxy import Fault, FaultProxy
from storage.faulty import MIXED

from schemas.config import InputConfig
from tasks.errors import StoreError, UserError
from tasks.problems.files import list_files
from tasks.problems.parquet.problem_file import open_parquet
from tasks.problems.reader import shards
from tasks.problems.survey import survey
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = [pytest.mark.tier2, pytest.mark.usefixtures("quick")]


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table({"problem": [f"{n}: {rng.bytes(40).hex()}" for n in range(20_000)], "level": range(20_000)})


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=3000)
    return sink.getvalue()


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("fault", Fault)
def test_a_problem_set_is_read_through_faults(fault: Fault, store: Store, proxy: FaultProxy, table: pa.Table) -> None:
    store.write("p.parquet", parquet(table))
    proxy.rates = {fault: 0.05 if fault is Fault.HANG else 0.4}
    with Stores(say=lambda line: None).open_input(store.path("p.parquet")) as f:
        assert open_parquet(f, "p.parquet").read().equals(table)


def test_an_input_is_read_at_random(store: Store, proxy: FaultProxy) -> None:
    content = random.Random(5).randbytes(3_000_000)
    store.write("p", content)
    store.write("empty", b"")
    proxy.rates = dict.fromkeys((Fault.SLOW_DOWN, Fault.RESET, Fault.CUT), 0.1)
    rng = random.Random(6)
    with Stores(say=lambda line: None).open_input(store.path("p")) as f:
        for _ in range(25):
            at, size = rng.randrange(len(content) + 10), rng.choice([0, 1, 100, 2_000_000])
            assert f.seek(at) == at
            assert f.read(size) == content[at : at + size]
            assert f.tell() == at + len(content[at : at + size])
        assert f.seek(-5, io.SEEK_END) == len(content) - 5
        assert f.read() == content[-5:]
        f.seek(0)
        assert f.read() == content
    with Stores().open_input(store.path("empty")) as f:
        assert f.read() == b""


def test_an_input_that_changes_is_not_mixed(store: Store, proxy: FaultProxy) -> None:
    store.write("p", b"1" * 3_000_000)
    with Stores().open_input(store.path("p")) as f:
        assert f.read(10) == b"1" * 10
        store.write("p", b"2" * 3_000_000)
        f.seek(2_000_000)
        with pytest.raises(UserError, match="/x/p: changed while it was read"):
            f.read(10)


def test_an_input_whose_store_stays_away(store: Store, proxy: FaultProxy, table: pa.Table) -> None:
    """It is not taken for a damaged file."""
    store.write("p.parquet", parquet(table))
    with Stores(patience=0.3, say=lambda line: None).open_input(store.path("p.parquet")) as f:
        found = open_parquet(f, "p.parquet")
        proxy.away()
        with pytest.raises(StoreError, match=r"x/p\.parquet"):
            found.read()


def test_input_that_is_not_there(store: Store) -> None:
    store.write("folder/p", b"")
    for missing in ("p", "folder/p/q", "fold"):
        with pytest.raises(FileNotFoundError):
            Stores().open_input(store.path(missing))
    with pytest.raises(IsADirectoryError):
        Stores().open_input(store.path("folder"))


@pytest.mark.usefixtures("short_timeouts")
def test_no_file_of_a_problem_set_is_passed_over(store: Store, proxy: FaultProxy, s3: str, table: pa.Table) -> None:
    expected = []
    for n in range(12):
        key = f"set/{n % 3}/{n:02d}.parquet"
        store.write(key, parquet(table.slice(n, 1)))
        expected.append(f"{s3}/x/{key}")
    proxy.rates = MIXED
    for pattern in ("set", "set/", "set/*/*.parquet", "set/**/*.parquet", "set/[012]/*", "s?t/*/*"):
        assert list_files(f"{s3}/x/{pattern}", Stores()) == sorted(expected)
    assert list_files(f"{s3}/x/set/1/*4*", Stores()) == [f"{s3}/x/set/1/04.parquet"]
    found = survey(InputConfig(path=f"{s3}/x/set"), Stores(), lambda rows: [False] * len(rows))
    problems = [p.text for _, some, _ in shards(found, Stores(), 5, lambda n: True) for p in some]
    assert sorted(problems) == sorted(table["problem"].to_pylist()[:12])
