"""The body of an engine's process: loads the model, says so, and serves requests until its pipe ends."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import tempfile
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

import psutil

from tasks.engines.engine_log import named_fault
from tasks.engines.messages import Ready, Refused
from tasks.engines.plugin import bind_forks, die_with_parent
from tasks.engines.spec import EngineSpec
from tasks.processes import kernels

PROMISED = ("VLLM_BATCH_INVARIANT", "VLLM_PLUGINS", "VLLM_RPC_BASE_PATH")
"""Environment variables that the user's own do not overrule."""


KEPT: list[Any] = []
"""Keeps the engine until its process ends. To take it apart would take a second and free nothing more."""


def serve(pipe: Connection, spec: EngineSpec, log: str) -> None:
    """Run one engine until the pipe closes. What the process prints goes to the file `log`."""
    die_with_parent()
    bind_forks()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which then closes its engines
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for name, value in spec.environment.items():
        if name in PROMISED:
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)
    # what vLLM forgets in the folder for temporary files goes with the log; compiled kernels are for the next run
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", kernels() or os.path.join(os.path.dirname(log), "torchinductor"))
    tempfile.tempdir = os.path.dirname(log)
    try:
        import setproctitle  # vLLM brings it

        setproctitle.setproctitle(f"stepwave-{spec.role}")
        from tasks.engines import pumps

        kind = pumps.ParallelPump if spec.arguments.get("data_parallel_size", 1) > 1 else pumps.Pump
        pump = kind(spec)
        read = pump.engine.get_tokenizer().decode(list(spec.probe)) if spec.probe else None
    except BaseException as error:
        traceback.print_exc()
        pipe.send(Refused(named_fault(error)))
        return
    KEPT.append(pump)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, inbox), daemon=True).start()
    pipe.send(Ready(read))
    try:
        pump.run(pipe, inbox)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # threads and finalizers of a broken engine may hang


def _listen(pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            inbox.put(pipe.recv())
    except (EOFError, OSError):
        # the run is gone, or has no more use of us; what we started need not have noticed, and may hold the device
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        os._exit(0)
