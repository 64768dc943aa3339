"""Faults of S3, one at a time and all at once: nothing is lost or seen by half."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from listing import sizes
from proxy import Fault, FaultProxy
from storage.faulty import MIXED, objects

from tasks.errors import StoreError
from tasks.storage.store import Store

pytestmark = [pytest.mark.tier2, pytest.mark.usefixtures("quick")]


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
