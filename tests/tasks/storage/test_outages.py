"""Outages: what passes is ridden out and told, and what stays ends a run in a line that helps."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import certified
from proxy import Fault, FaultProxy, Outage
from storage.faulty import objects

from schemas.config import StorageConfig
from tasks.errors import StoreError, UserError
from tasks.storage import faults
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = [pytest.mark.tier2, pytest.mark.usefixtures("quick")]


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
