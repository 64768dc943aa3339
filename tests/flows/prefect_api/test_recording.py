"""Without a Prefect server a run is no flow run: it starts no server, and heeds nothing that is said of servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from schemas.config import Config

pytestmark = pytest.mark.tier2

ROOT = Path(__file__).resolve().parents[3]
SOON = 180.0
"""Seconds after which something that should have happened has not."""
PROXIES = {"HTTP_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}
HALF = {
    "PREFECT_SERVER_API_HOST": "0.0.0.0",
    "PREFECT_SERVER_API_AUTH_STRING": "admin:secret",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://nobody@127.0.0.1:9/x",
    "PREFECT_API_DATABASE_CONNECTION_URL": "nonsense",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_API_AUTH_STRING": "half",
    "PREFECT_API_KEY": "pnu_half",
    "PREFECT_API_URL": "",
    "PREFECT_UI_URL": "http://nowhere.invalid",
    "PREFECT_LOGGING_SETTINGS_PATH": "/nowhere/logging.yml",
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python in a session of its own, with nothing of this machine's Prefect."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))}
    started = []

    def run(*words: str, **more: str) -> subprocess.Popen[str]:
        environment = kept | {"HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "prefect")} | more
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def file(job: Callable[..., Config], tmp_path: Path) -> Callable[..., str]:
    """Write a job's configuration; returns its path."""

    def write(*changes: str) -> str:
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(job(*changes).model_dump(mode="json")))
        return str(path)

    return write


def test_half_a_setup_and_proxies_are_nothing_to_a_run(start: Any, file: Any, out: Path, tmp_path: Path) -> None:
    run = start("-m", "flows", "generate", file(), **PROXIES, **HALF)
    said, err = run.communicate()
    assert (run.returncode, "Traceback" in err) == (0, False), err
    assert "secret" not in said + err
    assert (out / "manifest.json").exists()
    assert not list((tmp_path / "prefect").rglob("*.db*"))


def test_a_run_listens_nowhere_and_nothing_survives_it(start: Any, file: Any, out: Path) -> None:
    """Of Stepwave's own there is nothing that another user or a page in a browser could ask."""
    slow = [f"models.{role}.engine.seconds=0.05" for role in ("draft", "target", "prm")]
    run = start("-m", "flows", "generate", file(*slow))
    late = time.monotonic() + SOON
    while not list(out.glob("checkpoints/*/*.parquet")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < late
        time.sleep(0.02)
    alive = psutil.Process(run.pid).children(recursive=True)
    for process in [psutil.Process(run.pid), *alive]:
        assert [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []
    run.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(alive, timeout=SOON)[1] == []


SETTLED = """
import os
from tasks.errors import UserError
from flows.prefect_api.server import settle_environment
try:
    print(settle_environment(), os.environ.get("NO_PROXY"), os.environ.get("no_proxy"))
except UserError as error:
    print("told:", error)
"""


def settled(start: Any, **environment: str) -> str:
    """The line that is printed. On stderr Prefect says at most that a profile does not exist."""
    process = start("-c", SETTLED, **environment)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert [line for line in err.splitlines() if "Active profile" not in line] == []
    assert ("Active profile" in err) == (environment.get("PREFECT_PROFILE") == "missing")
    assert len(out.splitlines()) == 1
    return str(out.strip())


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PREFECT_SERVER_API_PORT": "abc-secret"}, "port: Input should be a valid integer"),
        ({"PREFECT_CLIENT_MAX_RETRIES": "-1"}, "max_retries: Input should be greater"),
        ({"PREFECT_LOGGING_LEVEL": "secret"}, "level: Input should be 'DEBUG'"),
        ({"PREFECT_API_URL": "http://[::bad/api"}, "Invalid IPv6 URL"),
        ({"PREFECT_API_URL": "nonsense"}, "PREFECT_API_URL: nonsense does not answer"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "http://127.0.0.1:9/api does not answer"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"} | PROXIES, "http://127.0.0.1:9/api does not answer"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api", "HTTP_PROXY": "::/"}, "http://127.0.0.1:9/api does not answer"),
    ],
)
def test_a_setup_that_cannot_be_used_is_told_in_a_line(start: Any, environment: dict[str, str], words: str) -> None:
    told = settled(start, **environment)
    assert told.startswith("told: ")
    assert words in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "environment",
    [
        {"PREFECT_PROFILE": "missing"},
        {"PREFECT_HOME": "/proc/nowhere"},
        {"PREFECT_HOME": "/etc/passwd"},
        HALF | PROXIES,
    ],
)
def test_what_concerns_servers_only_is_nothing_where_there_is_none(start: Any, environment: dict[str, str]) -> None:
    assert settled(start, **environment).startswith("False ")


class Healthy(BaseHTTPRequestHandler):
    """As much of Prefect's API as says that it is there."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"true" if self.path.endswith("/health") else b"[]"
        self.send_response(404 if "csrf" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def healthy() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "kept", [{}, {"NO_PROXY": "corp.example"}, {"no_proxy": "corp.example, ::1"}, {"NO_PROXY": "*"}]
)
def test_a_server_on_this_machine_is_reached_without_proxies(start: Any, healthy: str, kept: dict[str, str]) -> None:
    found = settled(start, PREFECT_API_URL=healthy, **PROXIES, **kept)
    assert found.startswith("True ")
    for host in kept.values():
        assert host.split(",")[0] in found


def test_without_proxies_the_environment_stays_as_it_is(start: Any) -> None:
    assert settled(start) == "False None None"
