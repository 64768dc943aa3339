"""A run beside others on its machine: another user and a page in a browser find what listens and what lies about, and
get nothing of it but figures, and change nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from schemas.config import Config

pytestmark = pytest.mark.tier2

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ASK = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    s.sendall(f"{method} {sys.argv[2]} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}".encode())
    print(b"".join(iter(lambda: s.recv(1 << 16), b"")).decode(errors="replace"))
"""
FETCH = """async port => {
  const found = [];
  for (const host of ["127.0.0.1", "localhost"])
    for (const options of [{}, {mode: "no-cors"}, {method: "POST", mode: "no-cors", body: "{}"}, {method: "PUT"},
                           {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}])
      for (const path of ["/metrics", "/", "/api/flow_runs/filter", "/shutdown"])
        try {
          const answer = await fetch(`http://${host}:${port}${path}`, options);
          found.push(await answer.text());
        } catch (error) { found.push(""); }
  return found;
}"""


class Running(NamedTuple):
    process: psutil.Popen
    folder: Path
    """Of everything that it makes outside of its output: its folder for temporary files, its home."""
    out: Path
    secret: str
    """Stands in its input and its environment."""


@pytest.fixture
def running(configured: Callable[..., Config], tmp_path: Path) -> Iterator[Running]:
    """A run with metrics that decodes for as long as it is looked at, made with the most careless umask."""
    secret = "hush-4711"
    folder, out = tmp_path / "own", tmp_path / "out"
    for name in ("tmp", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "tmp").chmod(0o1777)
    problems = {"problem": [f"{secret} {n}+1?" for n in range(8)], "answer": [r"\frac{x}{2}"] * 8}
    pq.write_table(pa.table(problems), tmp_path / "problems.parquet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = configured(
        f"run.metrics_port={port}", "decoding.max_tokens=60", "run.shard_size=4", "models.draft.engine.seconds=1"
    )
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job.model_dump(mode="json")))
    known = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = known | {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "XDG_CACHE_HOME": ""}
    words = [sys.executable, "-m", "flows", "generate", str(tmp_path / "job.yaml")]
    process = psutil.Popen(
        words,
        cwd=ROOT,
        env=environment | {"SECRET": secret},
        umask=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "metrics at port" in line:
            break
    threading.Thread(target=process.stderr.read, daemon=True).start()
    yield Running(process, folder, out, secret)
    with contextlib.suppress(psutil.Error):
        for each in (*process.children(recursive=True), process):
            each.kill()
    process.wait()


def family(process: psutil.Popen) -> list[psutil.Process]:
    return [psutil.Process(process.pid), *process.children(recursive=True)]


def ports(process: psutil.Popen) -> list[tuple[str, int]]:
    """Addresses at which anything of a run listens."""
    found = [c for each in family(process) for c in each.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return sorted({(c.laddr.ip, c.laddr.port) for c in found})


def figures_alone(text: str, secret: str) -> bool:
    """Is nothing told but metrics?"""
    lines = [line for line in text.splitlines() if line.startswith("stepwave_")]
    names = {line.split("{")[0] for line in lines}
    return secret not in text and "Traceback" not in text and all(name.startswith("stepwave_") for name in names)


def as_nobody(*words: str) -> str:
    """What a command of another user prints, or its error."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can be another user")
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*other, *words], capture_output=True, text=True, cwd="/", timeout=120, env={"PATH": "/bin"})
    return done.stdout + done.stderr


def test_what_listens_and_what_lies_about(running: Running) -> None:
    (address,) = ports(running.process)
    assert address[0] == "127.0.0.1"
    named = [c.laddr for each in family(running.process) for c in each.net_connections("unix") if c.laddr]
    for place in named:
        assert place.startswith("/"), "an abstract socket, which any user may connect to"
        assert stat.S_IMODE(os.stat(place).st_mode) & 0o077 == 0
        assert stat.S_IMODE(os.stat(os.path.dirname(place)).st_mode) & 0o077 == 0
    for top in running.folder.rglob("*"):
        if top.parent == running.folder / "tmp":
            assert stat.S_IMODE(top.lstat().st_mode) & 0o077 == 0, top
    for each in family(running.process):
        assert running.secret not in " ".join(each.cmdline())


def test_another_user_reads_figures_and_changes_nothing(running: Running) -> None:
    for _, port in ports(running.process):
        for path in ("/metrics", "/", "/../../etc/passwd", "/api/health", "/" + "a" * 100_000):
            assert figures_alone(as_nobody("/usr/bin/python3", "-c", ASK, str(port), path), running.secret)
    for each in family(running.process):
        for name in ("environ", "mem", "fd"):
            assert "denied" in as_nobody("ls" if name == "fd" else "cat", f"/proc/{each.pid}/{name}").lower()
    assert "denied" in as_nobody("sh", "-c", f"kill -9 {running.process.pid}").lower() or running.process.is_running()
    assert running.process.poll() is None


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A page of somebody else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def page() -> Iterator[Any]:
    """A browser at somebody's page, for whom evil.example is this machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    arguments = ["--host-resolver-rules=MAP evil.example 127.0.0.1", *([] if os.geteuid() else ["--no-sandbox"])]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"http://evil.example:{server.server_port}/")
        yield page
        browser.close()
    server.shutdown()


def test_a_page_in_a_browser_reads_nothing(running: Running, page: Any) -> None:
    for _, port in ports(running.process):
        assert set(page.evaluate(FETCH, port)) == {""}
        answer = page.goto(f"http://evil.example:{port}/metrics")
        assert answer.status == 403
        assert "stepwave_" not in page.content()
        own = json.dumps([f"http://evil.example:{port}/metrics", f"http://localhost:{port}/metrics"])
        read = f"Promise.all({own}.map(at => fetch(at).then(a => a.text(), () => '')))"
        assert all("stepwave_" not in text for text in page.evaluate(read))
    assert running.process.poll() is None
