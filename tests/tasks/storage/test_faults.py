"""Faults of a store: what passes is ridden out and told, nothing is lost or seen by half, and what stays ends clearly.

S3 is a real server over HTTP behind the fault proxy.
"""

from __future__ import annotations

import http.server
import io
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from certificates import certified
from listing import sizes
from proxy import Fault, FaultProxy, Outage

from schemas.config import InputConfig, StorageConfig
from tasks.errors import StoreError, UserError
from tasks.problems.files import list_files
from tasks.problems.parquet.problem_file import open_parquet
from tasks.problems.reader import shards
from tasks.problems.survey import survey
from tasks.storage import faults, s3_files, s3_requests
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

MIXED = dict.fromkeys(Fault, 0.3 / 7) | {Fault.HANG: 0.005}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(faults, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(s3_requests, "SLOWEST", 5 << 20)
    monkeypatch.setattr(s3_files, "PART", 5 << 20)


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what hangs; before a store is made."""
    monkeypatch.setattr(s3_requests, "READ_TIMEOUT", 0.3)


@pytest.fixture
def direct(s3: str) -> Any:
    """The S3 server without the proxy."""
    return boto3.client("s3")


@pytest.fixture
def proxy(direct: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server, seed=4, delay=0.02) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(proxy: FaultProxy, s3: str, said: list[str]) -> Store:
    return Store(f"{s3}/x", patience=30, say=said.append)


def objects(direct: Any, bucket: str) -> dict[str, bytes]:
    """What is in a bucket, read without the proxy."""
    keys = [entry["Key"] for entry in direct.list_objects_v2(Bucket=bucket[5:]).get("Contents", [])]
    return {key: direct.get_object(Bucket=bucket[5:], Key=key)["Body"].read() for key in keys}


def uploads(direct: Any, bucket: str) -> list[Any]:
    return direct.list_multipart_uploads(Bucket=bucket[5:]).get("Uploads", [])


# --- one fault at a time


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("fault", Fault)
def test_every_operation_rides_out(fault: Fault, store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    def met(act: Callable[[], Any]) -> Any:
        """Do something that meets the fault in its first requests."""
        before = proxy.counts[fault]
        times = 1 if fault in (Fault.HANG, Fault.DELAY) else 2
        proxy.plan(fault, times=times)
        result = act()
        assert proxy.counts[fault] == before + times
        return result

    assert met(lambda: store.write("a/1", b"one")).size == 3
    assert met(lambda: store.create("a/2", b"two")) is True
    assert met(lambda: store.create("a/2", b"three")) is False
    assert met(lambda: store.read("a/1")) == b"one"
    assert met(lambda: store.read_many(["a/2", "a/0", "a/1"])) == {"a/2": b"two", "a/1": b"one"}
    assert met(lambda: store.read_or_none("a/0")) is None
    assert met(lambda: store.keys("a")) == ["a/1", "a/2"]
    assert met(lambda: sizes(store, "a")) == {"a/1": 3, "a/2": 3}
    met(lambda: store.delete(["a/1"]))
    assert objects(direct, s3) == {"x/a/2": b"two"}
    store.write("a/1", b"one")
    met(lambda: store.delete(["a/1", "a/2"]))
    assert objects(direct, s3) == {}
    store.write("b/1", b"")
    store.write("c", b"")
    met(lambda: store.delete_folder("b"))
    assert objects(direct, s3) == {"x/c": b""}


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("fault", Fault)
def test_a_file_of_several_parts(fault: Fault, store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    content = random.Random(1).randbytes((11 << 20) + 7)
    proxy.plan(fault, lambda method, path: method == "POST" and "uploads" in path)
    proxy.plan(fault, lambda method, path: method == "PUT" and "partNumber=2" in path)
    proxy.plan(fault, lambda method, path: method == "POST" and "uploadId" in path)
    stat = store.write("t.parquet", content)
    assert proxy.counts[fault] == 3
    assert store.stats("") == {"t.parquet": stat}
    assert (stat.size, objects(direct, s3)) == (len(content), {"x/t.parquet": content})
    assert store.read("t.parquet") == content


def test_a_large_file_is_created_once(store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    ours, theirs = (bytes([n]) * (10 << 20) for n in (1, 2))
    proxy.plan(Fault.LOST, lambda method, path: method == "POST" and "uploadId" in path)
    assert store.create("t", ours) is True
    assert store.create("t", theirs) is False
    assert objects(direct, s3) == {"x/t": ours}
    assert uploads(direct, s3) == []


def test_a_large_upload_that_fails_leaves_nothing(store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    store.write("t", b"old")
    store.retry.patience = 0.3
    proxy.plan(Fault.SLOW_DOWN, lambda method, path: "partNumber=2" in path, times=1000)
    with pytest.raises(StoreError, match="503 SlowDown"):
        store.write("t", bytes(12 << 20))
    assert objects(direct, s3) == {"x/t": b"old"}
    assert uploads(direct, s3) == []


def is_completion(method: str, path: str) -> bool:
    return method == "POST" and "uploadId" in path


def test_an_upload_that_is_gone_since_it_was_completed(store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    """moto would answer its completion again; others know nothing of it any more."""
    content, other = (bytes([n]) * (10 << 20) for n in (1, 2))
    proxy.plan(Fault.LOST, is_completion)
    proxy.plan("404 NoSuchUpload", is_completion)
    assert store.write("t", content) == store.stats("t")["t"]
    assert objects(direct, s3) == {"x/t": content}
    for data, created in ((other, False), (content, True)):
        proxy.plan(Fault.LOST, is_completion)
        proxy.plan("404 NoSuchUpload", is_completion)
        assert store.create("t", data) is created


def test_an_upload_that_another_ended_is_begun_anew(store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    proxy.plan("404 NoSuchUpload", is_completion, times=2)
    content = bytes(range(256)) * (10 << 12)
    store.write("t", content)
    assert objects(direct, s3) == {"x/t": content}
    proxy.plan("404 NoSuchUpload", is_completion, times=3)
    with pytest.raises(StoreError, match="/x/t: the store forgot 3 uploads"):
        store.write("t", bytes(10 << 20))
    assert objects(direct, s3) == {"x/t": content}
    assert uploads(direct, s3) == []


def test_an_error_that_comes_as_success(store: Store, proxy: FaultProxy) -> None:
    """S3 may find out that it cannot while the answer is under way already."""
    proxy.plan("200 InternalError", is_completion)
    store.write("t", bytes(10 << 20))
    proxy.plan("200 SlowDown")
    assert sizes(store, "") == {"t": 10 << 20}
    assert proxy.counts == {"200 InternalError": 1, "200 SlowDown": 1}


@pytest.mark.usefixtures("short_timeouts")
def test_an_upload_that_nobody_takes_in(store: Store, proxy: FaultProxy) -> None:
    """The server stops to read: the answer's time limit alone would wait for a request that is never over."""
    store.write("a", b"1")
    proxy.plan(Fault.HANG, times=1)
    content = bytes(9 << 20)
    began = time.monotonic()
    store.write("a", content)
    assert time.monotonic() - began < 10
    assert store.read("a") == content


# --- an answer that was lost


@pytest.mark.parametrize("used_before", [False, True])
def test_what_was_created_without_an_answer_counts(used_before: bool, store: Store, proxy: FaultProxy) -> None:
    """aiohttp sends a PUT again by itself on a connection that was used before; both ways must tell the truth."""
    if used_before:
        store.read_or_none("a")
    proxy.plan(Fault.LOST)
    assert store.create("a", b"ours") is True
    proxy.plan(Fault.LOST)
    assert store.create("a", b"theirs") is False
    assert store.read("a") == b"ours"


def test_another_may_be_first_while_we_try_again(store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    def first(n: int, method: str, path: str) -> None:
        if method == "PUT" and n > 1:
            proxy.on_request = lambda n, method, path: None
            direct.put_object(Bucket=s3[5:], Key="x/a", Body=b"theirs")

    proxy.on_request = first
    proxy.plan(Fault.RESET)
    assert store.create("a", b"ours") is False
    assert store.read("a") == b"theirs"


def test_of_eight_that_create_under_faults_one_wins(proxy: FaultProxy, s3: str) -> None:
    stores = [Store(f"{s3}/x", patience=30) for _ in range(8)]
    proxy.rates = dict.fromkeys((Fault.SLOW_DOWN, Fault.RESET, Fault.LOST, Fault.CUT, Fault.DELAY), 0.1)
    for turn in range(10):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n, turn=turn: stores[n].create(f"claim-{turn}", b"%d" % n), range(8)))
        assert sum(won) == 1
        assert stores[0].read(f"claim-{turn}") == b"%d" % won.index(True)
    assert proxy.counts[Fault.LOST] > 5


# --- all faults at once


@pytest.mark.usefixtures("short_timeouts")
def test_nothing_is_lost_under_mixed_faults(store: Store, proxy: FaultProxy, direct: Any, s3: str) -> None:
    proxy.rates = MIXED
    rng = random.Random(11)
    model: dict[str, bytes] = {}

    def operation() -> None:
        key = f"{rng.choice('abc')}/{rng.randrange(6)}"
        content = rng.randbytes(rng.choice([0, 1, 1000, 300_000]))
        match rng.choice(["write", "write", "create", "read", "keys", "many", "delete", "folder"]):
            case "write":
                assert store.write(key, content).size == len(content)
                model[key] = content
            case "create":
                assert store.create(key, content) is (key not in model or model[key] == content)
                model.setdefault(key, content)
            case "read":
                assert store.read_or_none(key) == model.get(key)
            case "keys":
                below = {k: len(v) for k, v in model.items() if k.startswith(key[:2])}
                assert sizes(store, key[0]) == below
            case "many":
                keys = [f"{key[0]}/{n}" for n in range(6)]
                assert store.read_many(keys) == {k: model[k] for k in keys if k in model}
            case "delete":
                store.delete([key, f"{key[0]}/0"])
                model.pop(key, None)
                model.pop(f"{key[0]}/0", None)
            case "folder":
                store.delete_folder(key[0])
                for k in [k for k in model if k.startswith(key[:2])]:
                    del model[k]

    for _ in range(300):
        operation()
    assert objects(direct, s3) == {f"x/{key}": content for key, content in model.items()}
    assert all(proxy.counts[fault] for fault in Fault)


def test_a_reader_never_sees_half_an_object(proxy: FaultProxy, s3: str) -> None:
    proxy.rates = {Fault.RESET: 0.1, Fault.LOST: 0.1, Fault.CUT: 0.1}
    writer, reader = Store(f"{s3}/x", patience=30), Store(f"{s3}/x", patience=30)
    contents = [bytes([n]) * (100_000 + n) for n in range(20)] + [bytes([99]) * (11 << 20)]
    writer.write("t", contents[0])
    done = threading.Event()

    def read() -> int:
        times = 0
        while not done.is_set():
            assert reader.read("t") in contents
            times += 1
        return times

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for content in contents:
                writer.write("t", content)
        finally:
            done.set()
        assert reading.result() > 0


# --- outages


@pytest.mark.parametrize("how", Outage)
def test_an_outage_is_ridden_out_and_told(how: Outage, store: Store, proxy: FaultProxy, said: list[str]) -> None:
    store.write("a", b"1")
    proxy.away_for(0.5, how)
    assert store.read("a") == b"1"
    assert len(said) == 2
    assert said[0].startswith(f"{store.path('a')}: ")
    assert "trying again for another 30 s" in said[0]
    assert said[1] == f"{store.path('a')}: the store works again, after {said[1].rsplit(' ', 2)[1]} s"
    if how is Outage.REFUSE:
        assert f"the s3 endpoint {proxy.url} does not answer (Connection refused)" in said[0]


def test_a_long_outage_is_told_now_and_then(
    store: Store, proxy: FaultProxy, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "SAY_EVERY", 0.2)
    store.write("a", b"1")
    proxy.away_for(0.7)
    store.read_many(["a"] * 20)
    assert 3 <= len(said) <= 8  # of some hundred failed tries


@pytest.mark.parametrize("how", Outage)
def test_an_outage_that_outlasts_the_patience(how: Outage, proxy: FaultProxy, s3: str, direct: Any) -> None:
    store = Store(f"{s3}/x", patience=0.3, say=lambda line: None)
    store.write("a", b"1")
    proxy.away(how)
    acts: list[Callable[[], object]] = [
        lambda: store.read("a"),
        lambda: store.write("a", b"2"),
        lambda: store.create("b", b"2"),
        lambda: store.keys(""),
        lambda: store.delete(["a"]),
    ]
    for act in acts:
        began = time.monotonic()
        with pytest.raises(StoreError) as caught:
            act()
        assert 0.3 <= time.monotonic() - began < 5
        assert str(caught.value).startswith(f"{s3}/x")
        assert re.search(r"; tried again for \d s$", str(caught.value))
        assert "\n" not in str(caught.value)
    proxy.back()
    assert objects(direct, s3) == {"x/a": b"1"}
    assert store.read("a") == b"1"


def test_many_reads_give_up_together(proxy: FaultProxy, s3: str) -> None:
    store = Store(f"{s3}/x", patience=0.4, say=lambda line: None)
    store.write("a", b"1")
    proxy.away()
    began = time.monotonic()
    with pytest.raises(StoreError):
        store.read_many(["a"] * 200)
    assert time.monotonic() - began < 10


def test_a_store_that_only_says_slow_down(proxy: FaultProxy, s3: str) -> None:
    """It answers, so it is no mistyped address, though it never did anything else."""
    proxy.rates = {Fault.SLOW_DOWN: 1.0}
    with pytest.raises(StoreError, match=r"/x/a: the store answers 503 SlowDown; tried again for \d s"):
        Store(f"{s3}/x", patience=0.3).read("a")


def test_patience_may_be_lowered_meanwhile(store: Store, proxy: FaultProxy) -> None:
    store.write("a", b"1")
    proxy.away()
    threading.Timer(0.2, lambda: setattr(store.retry, "patience", 0.0)).start()
    began = time.monotonic()
    with pytest.raises(StoreError):
        store.read("a")
    assert time.monotonic() - began < 5


def test_without_patience_there_is_one_try(proxy: FaultProxy, s3: str) -> None:
    store = Store(f"{s3}/x", patience=0)
    proxy.rates = {Fault.SLOW_DOWN: 1.0}
    with pytest.raises(StoreError):
        store.read("a")
    assert proxy.requests == 1


# --- an endpoint that never answered


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid:9000", "https://127.0.0.1:9"])
def test_an_endpoint_that_nobody_answers_is_a_mistake(endpoint: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "CONTACT_PATIENCE", 0.3)
    store = Store(f"{s3}/x", StorageConfig(endpoint_url=endpoint), patience=60, say=lambda line: None)
    began = time.monotonic()
    for act in (lambda: store.read("a"), lambda: Stores(StorageConfig(endpoint_url=endpoint)).open_input(f"{s3}/p")):
        with pytest.raises(UserError) as caught:
            act()
        assert f"the s3 endpoint {endpoint} does not answer (" in str(caught.value)
    assert time.monotonic() - began < 20


def test_an_endpoint_that_speaks_no_tls(s3_server: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "CONTACT_PATIENCE", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.replace("http", "https"))
    with pytest.raises(UserError, match=r"does not answer \((wrong version number|record layer failure)\)"):
        Store(f"{s3}/x", say=lambda line: None).read("a")


@pytest.mark.parametrize(("days", "words"), [(1, "self-signed certificate"), (-1, "certificate has expired")])
def test_an_endpoint_whose_certificate_is_not_trusted(
    days: int, words: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "CONTACT_PATIENCE", 0.1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = certified(tmp_path, days=days).wrap_socket(server.socket, server_side=True)
    if days < 0:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "server.pem"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=rf"does not answer \(.*{words}.*\)") as caught:
            Store(f"{s3}/x", say=lambda line: None).read("a")
    finally:
        server.shutdown()
        server.server_close()
    assert str(caught.value).isprintable()


def test_an_endpoint_that_comes_up_late_is_none(proxy: FaultProxy, s3: str) -> None:
    proxy.away_for(0.5)
    Store(f"{s3}/x", say=lambda line: None).write("a", b"1")


def test_an_endpoint_counts_as_known_to_the_whole_process(
    store: Store, proxy: FaultProxy, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "CONTACT_PATIENCE", 0.1)
    store.write("a", b"1")
    proxy.away_for(0.6)
    with Stores(say=lambda line: None).open_input(f"{s3}/x/a") as f:
        assert f.read() == b"1"


# --- inputs


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
