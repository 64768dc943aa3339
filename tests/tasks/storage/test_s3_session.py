"""Credentials of S3 go to the endpoint that they are for, whatever that answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from schemas.config import StorageConfig
from tasks.errors import StoreError, UserError
from tasks.storage.store import Store

Server = tuple[str, list[dict[str, str]]]


class Redirecting(BaseHTTPRequestHandler):
    """Answers everything with a status and the address of another server."""

    protocol_version = "HTTP/1.1"  # else it would not ask for the content of a PUT

    def answer(self) -> None:
        server: Any = self.server
        server.seen.append(dict(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = server.body.encode()
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *words: object) -> None: ...


def serve(status: int, headers: dict[str, str], body: str = "") -> tuple[ThreadingHTTPServer, Server]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    server.status, server.headers, server.body, server.seen = status, headers, body, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, (f"http://127.0.0.1:{server.server_port}", server.seen)


@pytest.fixture
def thief() -> Iterator[Server]:
    server, found = serve(200, {})
    yield found
    server.shutdown()
    server.server_close()


WORDS = "<Error><Code>{code}</Code><Endpoint>{to}</Endpoint><Region>{to}</Region><Bucket>b</Bucket></Error>"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "PermanentRedirect"),
        (302, "Found"),
        (303, "SeeOther"),
        (307, "TemporaryRedirect"),
        (308, "PermanentRedirect"),
        (400, "AuthorizationHeaderMalformed"),
    ],
)
def test_no_answer_sends_the_session_token_elsewhere(
    monkeypatch: pytest.MonkeyPatch, thief: Server, status: int, code: str
) -> None:
    address, taken = thief
    for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key", "SESSION_TOKEN": "token"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    host = address.removeprefix("http://")
    server, (endpoint, asked) = serve(
        status, {"Location": f"{address}/b/x", "x-amz-bucket-region": host}, WORDS.format(code=code, to=host)
    )
    store = Store("s3://b", StorageConfig(endpoint_url=endpoint, region="eu-west-1"), patience=0.0)
    try:
        for ask in (
            lambda: store.read("x"),
            lambda: store.write("x", b"1"),
            lambda: store.create("x", b"1"),
            lambda: store.keys(""),
        ):
            with pytest.raises((UserError, StoreError)) as told:
                ask()
            assert "token" not in str(told.value)
    finally:
        server.shutdown()
        server.server_close()
    assert any(header.lower() == "x-amz-security-token" for seen in asked for header in seen)
    assert taken == []
