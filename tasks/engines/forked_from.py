"""The process that engine processes are forked from. It has imported vLLM (preload.py), so that they start side by side
in the time that loading takes. Nothing of vLLM is imported here."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path

from tasks.engines.engine_log import log_to

PROCESSES = multiprocessing.get_context("forkserver")

PRELOAD = ["tasks.engines.preload"]
"""Modules that the process which engines are forked from imports."""

QUIET = {"VLLM_NO_USAGE_STATS": "1", "TOKENIZERS_PARALLELISM": "true", "OMP_WAIT_POLICY": "PASSIVE"}
"""Environment of the process that engines are forked from, unless the user has set it."""

PLACE = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
"""Also for that process, so that it imports our `tasks`, not one in the directory in which the run was started."""


def prepare() -> None:
    """Begin to import vLLM in the process that engines are forked from; returns at once. That process ends with this
    one."""
    before = {name: os.environ.get(name) for name in (*QUIET, *PLACE)}
    os.environ |= {name: value for name, value in QUIET.items() if before[name] is None}
    os.environ |= PLACE
    if before["PYTHONPATH"]:
        os.environ["PYTHONPATH"] += os.pathsep + before["PYTHONPATH"]
    try:
        PROCESSES.set_forkserver_preload(PRELOAD)
        with log_to(os.devnull):
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
