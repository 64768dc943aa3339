"""A Prefect server that wants a password which the environment does not have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_api.server import settle_environment
from tasks.errors import UserError


class Guarded(BaseHTTPRequestHandler):
    """Tells its health to everybody, and nothing else to anybody."""

    def _answer(self, code: int) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/api/health" else 401)

    def do_POST(self) -> None:
        self._answer(401)

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def guarded() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Guarded)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_missing_password_is_named(guarded: str) -> None:
    with (
        temporary_settings({PREFECT_API_URL: guarded}),
        pytest.raises(UserError, match="PREFECT_API_AUTH_STRING"),
    ):
        settle_environment()
