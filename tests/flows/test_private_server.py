"""The private Prefect API: it ends with the run, whatever ends that, and lives as long as the run does."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows import serve
from schemas.config import Config

ROOT = Path(__file__).resolve().parents[2]
SOON = 180.0
"""Seconds after which something that should have happened has not."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Prefect's own folder."""
    path = tmp_path / "prefect"
    path.mkdir()
    return path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python in a session of its own, with nothing of this machine's Prefect."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))}
    started = []

    def run(*words: str) -> subprocess.Popen[str]:
        environment = kept | {"HOME": str(home.parent), "PREFECT_HOME": str(home)}
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def until(true: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Wait for a condition while a process lives."""
    late = time.monotonic() + SOON
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < late
        time.sleep(0.02)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_nothing_survives_a_killed_run(start: Any, job: Callable[..., Config], out: Path, tmp_path: Path) -> None:
    slow = [f"models.{role}.engine.seconds=0.05" for role in ("draft", "target", "prm")]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job(*slow).model_dump(mode="json")))
    run = start("-m", "flows", "generate", str(tmp_path / "job.yaml"))
    until(lambda: list(out.glob("checkpoints/*/*.parquet")), run)
    alive = children(run)
    assert any("serve.py" in " ".join(process.cmdline()) for process in alive)
    run.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(alive, timeout=SOON)[1] == []


PROGRAM = """
import os, sys
from flows.server import private_api
with private_api():
    from flows.private_server import PrivateServer
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        print("up", PrivateServer().server_process.pid, flush=True)
        for asked in sys.stdin:
            print(client.api_healthcheck(), flush=True)
            if asked == "leave\\n":
                os._exit(3)
"""


def test_a_server_that_dies_comes_back_and_a_run_that_leaves_at_once_takes_it_along(start: Any) -> None:
    run = start("-c", PROGRAM)
    assert run.stdout.readline().startswith("up ")
    (server,) = children(run)
    # signals to the run's group, or SIGTERM to all that a job runs, leave it to the run
    assert os.getpgid(server.pid) != os.getpgid(run.pid)
    (blocked,) = (line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "SigBlk" in line)
    assert int(blocked.split()[1], 16) >> (signal.SIGTERM - 1) & 1
    server.kill()
    until(lambda: [p for p in children(run) if p.pid != server.pid], run)

    def answers() -> bool:
        run.stdin.write("?\n")
        run.stdin.flush()
        return run.stdout.readline() == "None\n"

    until(answers, run)
    alive = children(run)
    run.stdin.write("leave\n")
    run.stdin.flush()
    assert psutil.wait_procs(alive, timeout=SOON)[1] == []
    assert run.wait() == 3


def test_a_server_whose_run_is_gone_does_not_start(start: Any, home: Path) -> None:
    gone = start("-c", "")
    gone.wait()
    late = start("-P", serve.__file__, str(gone.pid), "9")
    assert late.wait() == 1
    assert list(home.iterdir()) == []


def test_a_database_that_cannot_be_used_is_told(
    start: Any, home: Path, job: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job().model_dump(mode="json")))
    (home / "prefect.db").write_bytes(b"no database" * 1000)
    run = start("-m", "flows", "generate", str(tmp_path / "job.yaml"))
    out, err = run.communicate()
    assert (run.returncode, out) == (2, "")
    (line,) = err.splitlines()
    assert "file is not a database" in line
    assert str(home / "prefect.db") in line
    assert "PREFECT_API_URL" in line


def test_databases_are_brought_up_to_date_one_at_a_time(start: Any, home: Path) -> None:
    lock = home / ".stepwave-migration.lock"
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = start("-c", "from flows import serve; serve.migrate()")
        queued = re.compile(rf"-> FLOCK .*:{lock.stat().st_ino} ")
        until(lambda: queued.search(Path("/proc/locks").read_text()), waiting)
        assert not (home / "prefect.db").exists()
    _, err = waiting.communicate()
    assert waiting.returncode == 0, err
    assert (home / "prefect.db").exists()
