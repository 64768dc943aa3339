"""No process that a run started outlives it, also where vLLM forks more of them, as it does on CUDA."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.tier2

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 30
"""What a loaded machine may take to end processes that were sent a signal."""

FAMILY = """
import multiprocessing, os, signal, sys, threading
from tasks.engines.plugin import bind_forks, die_with_parent

fork = multiprocessing.get_context("fork")

def lives():
    os.write(1, b"%d\\n" % os.getpid())
    signal.pause()

def core():
    for _ in range(2):
        fork.Process(target=lives).start()
    lives()

def engine():
    die_with_parent()
    bind_forks()
    fork.Process(target=core).start()
    lives()

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=engine).start()
    lives()
"""

FORKED_IN_A_THREAD = """
import multiprocessing, os, signal, threading
from tasks.engines.plugin import bind_forks

def child():
    os.write(1, b"%d\\n" % os.getpid())
    os.read(0, 1)
    os.write(1, b"lives\\n")

if __name__ == "__main__":
    bind_forks()
    thread = threading.Thread(target=multiprocessing.get_context("fork").Process(target=child).start)
    thread.start()
    thread.join()
    signal.pause()
"""

ENGINES = """
import asyncio, shutil, sys
from dataclasses import replace
from pathlib import Path
from transformers import AutoConfig, AutoModelForCausalLM
from tasks.engines import forked_from, open_engines
from test_vllm import DEMO, plan

forked_from.PRELOAD.append("forking")
SHAPE = {"vocab_size": 650, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2}  # one for each of two tensor-parallel workers

async def main(folder):
    AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2", **SHAPE, **HEADS)).save_pretrained(folder)
    shutil.copy(DEMO / "models" / "draft" / "tokenizer.json", folder)
    of = plan(dtype="float32")
    core = of.roles["draft"].engine
    core = replace(core, environment=core.environment | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    tensor = {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}
    specs = [
        replace(core, replicas=({}, {})),
        replace(core, role="target", model=folder, arguments=core.arguments | tensor),
    ]
    vocabularies = {role: plan.vocabulary for role, plan in of.roles.items()}
    async with open_engines(specs, vocabularies, print, print, restarts=0, patience=60):
        print("open", flush=True)
        await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main(str(Path(__file__).parent / "two_heads")))
"""


def below(pid: int) -> list[psutil.Process]:
    """What a process started, and what that started."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def all_end(processes: list[psutil.Process]) -> bool:
    """Do they end by themselves? One whose parent has not asked after it yet is no process any more."""
    return all(p.status() == psutil.STATUS_ZOMBIE for p in psutil.wait_procs(processes, timeout=SECONDS)[1])


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a script that may import ours and the helpers of these tests. What it started ends with the test."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    env = os.environ | {"PYTHONPATH": path}
    left: list[psutil.Process] = []
    with contextlib.ExitStack() as stack:

        def start(script: str) -> subprocess.Popen[str]:
            (tmp_path / "script.py").write_text(script)
            pipe = subprocess.PIPE
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(tmp_path / "script.py")], env=env, stdin=pipe, stdout=pipe, text=True
                )
            )
            stack.callback(lambda: [p.kill() for p in left if p.is_running()])
            stack.callback(process.kill)
            stack.callback(lambda: left.extend(below(process.pid)))
            return process

        yield start


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("killed", ["run", "engine"])
def test_what_an_engine_forks_and_what_that_forks_end_with_it(
    started: Callable[[str], subprocess.Popen[str]], killed: str
) -> None:
    run = started(FAMILY)
    family = [psutil.Process(int(run.stdout.readline())) for _ in range(5)]  # type: ignore[union-attr]
    engine = next(p for p in family if p.ppid() == run.pid)
    ours = [engine, *below(engine.pid)]
    assert len(ours) == 4
    (run if killed == "run" else engine).send_signal(signal.SIGKILL)
    run.poll()
    assert all_end(ours)


@pytest.mark.usefixtures("no_hang")
def test_what_a_thread_forks_does_not_end_with_the_thread(started: Callable[[str], subprocess.Popen[str]]) -> None:
    run = started(FORKED_IN_A_THREAD)
    assert run.stdout.readline().strip().isdecimal()  # type: ignore[union-attr]
    print("go on", file=run.stdin, flush=True)
    assert run.stdout.readline() == "lives\n"  # type: ignore[union-attr]


def test_cores_and_tensor_parallel_workers_forked_by_vllm_end_with_a_run_that_is_killed(
    started: Callable[[str], subprocess.Popen[str]],
) -> None:
    run = started(ENGINES)
    while (line := run.stdout.readline()) != "open\n":  # type: ignore[union-attr]
        assert line, "it ended before its engines were open"
    children = below(run.pid)
    names = [p.name() for p in children]
    assert sum(name.startswith("VLLM::EngineCor") for name in names) == 3, names
    assert sum(name.startswith("VLLM::Worker") for name in names) == 2, names
    run.kill()
    run.wait()
    assert all_end(children)
