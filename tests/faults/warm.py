"""Processes of `stepwave` forked from one that has imported what costs each of them seconds.

CLOCK_IS_OFF in the environment sets a process's clock, by so many seconds.

But for that they are as if started anew: a session, standard streams and an environment of their own, `flows` as their
main module, an interpreter that ends as it always does. Prefect, which reads the environment when it is imported, and
vLLM are not among what is shared.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def serve() -> None:
    """Fork a process for each line on stdin (words, log, environment); say its pid, and when it ends, its code."""

    def reap(*_: Any) -> None:
        while (ended := _ended())[0]:
            os.write(1, json.dumps({"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])}).encode() + b"\n")

    import polars  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import s3fs  # noqa: F401
    from transformers import AutoConfig, AutoTokenizer  # noqa: F401

    import tasks.generation.pipeline  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        asked = json.loads(line)
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.write(1, json.dumps({"pid": os.getpid()}).encode() + b"\n")
            _become(**asked)
            return


def _ended() -> tuple[int, int]:
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


def _become(words: list[str], log: str, environment: dict[str, str]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number, replaced in enumerate((nothing, out, out)):
        os.dup2(replaced, number)
    os.environ.clear()
    os.environ.update(environment)
    if off := float(os.environ.pop("CLOCK_IS_OFF", "0")):
        _shift_clock(off)
    sys.argv = ["stepwave", *words]
    runpy.run_module("flows", run_name="__main__", alter_sys=True)


def _shift_clock(seconds: float) -> None:
    """Let this process's time of day be off by so many seconds."""
    import time

    now, ns = time.time, int(seconds * 1e9)
    real = time.time_ns
    time.time = lambda: now() + seconds  # type: ignore[assignment]
    time.time_ns = lambda: real() + ns  # type: ignore[assignment]


class Forked:
    """One process, as far as subprocess.Popen shows it."""

    def __init__(self, pid: int, codes: dict[int, int], news: threading.Condition) -> None:
        self.pid, self.codes, self.news = pid, codes, news

    def poll(self) -> int | None:
        return self.codes.get(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        with self.news:
            if not self.news.wait_for(lambda: self.pid in self.codes, timeout):
                raise subprocess.TimeoutExpired("stepwave", timeout or 0.0)
        return self.codes[self.pid]

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


class Nursery:
    """The process that others are forked from. It ends with this one."""

    def __init__(self) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-P", __file__], cwd=ROOT, start_new_session=True, **pipes)
        self.codes: dict[int, int] = {}
        self.pids: list[int] = []
        self.news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, words: list[str], log: Path, environment: dict[str, str]) -> Forked:
        asked = {"words": words, "log": str(log), "environment": environment}
        assert self.process.stdin is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        with self.news:
            assert self.news.wait_for(lambda: self.pids, 120)
            return Forked(self.pids.pop(), self.codes, self.news)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            with self.news:
                if "pid" in said:
                    self.pids.append(said["pid"])
                else:
                    self.codes[said["ended"]] = said["code"]
                self.news.notify_all()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    serve()
