"""An engine's process ends with the process that started it, whenever that is killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
ENGINE = """
import multiprocessing, os, signal, sys
from tasks.engines.plugin import die_with_parent

def orphan():
    multiprocessing.parent_process().join()
    os.write(1, b"orphan\\n")
    die_with_parent()
    os.write(1, b"lives\\n")

def child():
    die_with_parent()
    os.write(1, b"lives\\n")
    signal.pause()

if __name__ == "__main__":
    started = multiprocessing.get_context(sys.argv[2]).Process(target=globals()[sys.argv[1]])
    started.start()
    os.write(1, b"started\\n")
    signal.pause()
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """Start a process that starts an engine's, by a method of multiprocessing."""
    (tmp_path / "engine.py").write_text(ENGINE)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as started:

        def start(*words: str) -> subprocess.Popen[str]:
            command = [sys.executable, str(tmp_path / "engine.py"), *words]
            process = started.enter_context(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
            started.callback(process.kill)
            return process

        yield start


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_it_ends_where_its_parent_was_gone_before_it_could_ask_for_the_signal(run: Any, method: str) -> None:
    parent = run("orphan", method)
    assert parent.stdout.readline() == "started\n"
    parent.kill()
    # the pipe ends when the last process that holds it does
    assert parent.stdout.read() == "orphan\n"


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_lives_as_long_as_its_parent(run: Any, method: str) -> None:
    parent = run("child", method)
    assert {parent.stdout.readline(), parent.stdout.readline()} == {"started\n", "lives\n"}
    parent.kill()
    assert parent.stdout.read() == ""
