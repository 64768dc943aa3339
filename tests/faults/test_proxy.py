"""The fault proxy: it changes nothing unless told to, and each fault is what it says."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from proxy import Fault, FaultProxy, Outage


class Echo(BaseHTTPRequestHandler):
    """Answers with what was asked and sent, and remembers it."""

    seen: list[str]

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() != b"\r\n":
                pass
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(f"{self.command} {self.path}")
        answer = f"{self.command} {self.path} ".encode() + body
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_PUT

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[tuple[str, list[str]]]:
    """Address of a server, and the requests that reached it."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Echo,), {"seen": seen}))
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def connection(proxy: FaultProxy) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)


def ask(
    proxy: FaultProxy,
    method: str = "GET",
    path: str = "/a?b=c",
    body: bytes | None = None,
    link: http.client.HTTPConnection | None = None,
) -> tuple[int, bytes]:
    """Status and body of an answer, on a connection of its own unless given."""
    link = link or connection(proxy)
    try:
        link.request(method, path, body)
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


BROKEN = (ConnectionError, http.client.HTTPException)


def test_without_faults_nothing_changes(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        link = connection(proxy)
        for body in (b"", b"\x00\r\n\r\nx" * 100_000):
            link.request("PUT", "/k?x=1", body)
            assert link.getresponse().read() == b"PUT /k?x=1 " + body
        link.request("PUT", "/c", iter([b"one", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        assert link.getresponse().read() == b"PUT /c onetwo"
        link.request("PUT", "/e", b"late", headers={"Expect": "100-continue"})
        assert link.getresponse().read() == b"PUT /e late"
        link.request("HEAD", "/h")
        answer = link.getresponse()
        assert (answer.headers["Content-Length"], answer.read()) == ("8", b"")
        link.close()
        assert (proxy.requests, proxy.counts) == (5, Counter())


@pytest.mark.parametrize(("fault", "status"), [(Fault.ERROR, 500), (Fault.SLOW_DOWN, 503)])
def test_errors_are_answered_before_forwarding(echo: tuple[str, list[str]], fault: Fault, status: int) -> None:
    with FaultProxy(echo[0]) as proxy:
        proxy.plan(fault)
        found, body = ask(proxy, "PUT", "/a", b"x" * 100_000)
        assert (found, fault.value.split()[1].encode() in body) == (status, True)
        proxy.plan(fault)
        assert ask(proxy, "HEAD") == (status, b"")
        proxy.plan("404 NoSuchKey")
        found, body = ask(proxy)
        assert (found, b"<Code>NoSuchKey</Code>" in body) == (404, True)
        assert echo[1] == []
        assert ask(proxy)[0] == 200
        assert proxy.counts == {fault: 2, "404 NoSuchKey": 1}


def test_a_reset_before_forwarding(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        proxy.plan(Fault.RESET)
        with pytest.raises(BROKEN):
            ask(proxy)
        assert echo[1] == []


def test_a_lost_answer_had_its_effect(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        proxy.plan(Fault.LOST)
        with pytest.raises(BROKEN):
            ask(proxy, "PUT", "/a", b"x")
        assert echo[1] == ["PUT /a"]


def test_half_an_answer(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        proxy.plan(Fault.CUT)
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(proxy, "PUT", "/a", b"x" * 1000)
        assert 0 < len(caught.value.partial) < 1000
        proxy.plan(Fault.CUT)
        with pytest.raises(BROKEN):
            ask(proxy, "HEAD")


def test_a_delay(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0], delay=0.2) as proxy:
        proxy.plan(Fault.DELAY)
        began = time.monotonic()
        assert ask(proxy)[0] == 200
        assert time.monotonic() - began >= 0.2


def test_a_hanging_request_ends_when_released_and_is_never_forwarded(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        came = threading.Event()
        proxy.on_request = lambda n, method, path: came.set()
        proxy.plan(Fault.HANG)
        broken: list[BaseException] = []

        def hang() -> None:
            try:
                ask(proxy, "PUT", "/a", b"x")
            except BROKEN as error:
                broken.append(error)

        thread = threading.Thread(target=hang)
        thread.start()
        assert came.wait(5)
        assert ask(proxy)[0] == 200  # others are served meanwhile
        assert not broken
        proxy.release()
        thread.join()
        assert broken
        assert echo[1] == ["GET /a?b=c"]


def test_an_outage_on_and_off(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        for how in Outage:
            link = connection(proxy)
            link.request("GET", "/")
            link.getresponse().read()
            proxy.away(how)
            with pytest.raises(BROKEN):
                ask(proxy)
            with pytest.raises(BROKEN):
                ask(proxy, link=link)  # a connection from before
            proxy.back()
            assert ask(proxy)[0] == 200
            link.close()
        assert proxy.counts == {Outage.DROP: 1}
        proxy.away()
        with pytest.raises(ConnectionRefusedError):
            ask(proxy)


def test_an_outage_that_ends_by_itself(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        began = time.monotonic()
        proxy.away_for(0.3)
        while True:
            try:
                assert ask(proxy)[0] == 200
                break
            except ConnectionRefusedError:
                assert time.monotonic() - began < 10
                time.sleep(0.01)
        assert time.monotonic() - began >= 0.3


def test_plans_are_for_the_requests_that_are_meant(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        proxy.plan(Fault.ERROR, when=lambda method, path: method == "PUT" and path.endswith("b"), times=2)
        assert [ask(proxy, m, p)[0] for m, p in [("GET", "/b"), ("PUT", "/a"), ("PUT", "/b")]] == [200, 200, 500]
        assert [ask(proxy, "PUT", "/b")[0] for _ in range(2)] == [500, 200]


def test_rates_follow_the_seed(echo: tuple[str, list[str]]) -> None:
    def statuses(seed: int) -> list[int]:
        with FaultProxy(echo[0], seed=seed, rates={Fault.ERROR: 0.2, Fault.SLOW_DOWN: 0.2}) as proxy:
            found = [ask(proxy)[0] for _ in range(100)]
            assert proxy.counts == {Fault.ERROR: found.count(500), Fault.SLOW_DOWN: found.count(503)}
            return found

    first = statuses(1)
    assert statuses(1) == first != statuses(2)
    assert 20 < 100 - first.count(200) < 60


def test_every_request_is_shown_with_its_number(echo: tuple[str, list[str]]) -> None:
    with FaultProxy(echo[0]) as proxy:
        shown: list[tuple[int, str, str]] = []
        proxy.on_request = lambda *about: shown.append(about)
        ask(proxy, "PUT", "/a", b"x")
        proxy.plan(Fault.ERROR)
        ask(proxy)
        assert shown == [(1, "PUT", "/a"), (2, "GET", "/a?b=c")]


def test_a_mistake_in_the_test_is_not_hidden(echo: tuple[str, list[str]]) -> None:
    def fails(n: int, method: str, path: str) -> None:
        raise ZeroDivisionError

    proxy = FaultProxy(echo[0])
    proxy.__enter__()
    proxy.on_request = fails
    with pytest.raises(BROKEN):
        ask(proxy)
    with pytest.raises(ZeroDivisionError):
        proxy.__exit__(None, None, None)
