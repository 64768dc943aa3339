"""vLLM loads this in each of its processes (entry point vllm.general_plugins)."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


CLASSES = {"StepwaveQwen2Prm": "tasks.engines.qwen_prm", "StepwaveSkyworkPrm": "tasks.engines.skywork_prm"}
"""PRM class to the module that has it."""


def register() -> None:
    """Make the PRM classes known, and let engine processes die with the run that started them."""
    from vllm import ModelRegistry

    known = ModelRegistry.get_supported_archs()
    for name in CLASSES.keys() - known:
        ModelRegistry.register_model(name, f"{CLASSES[name]}:{name}")
    if multiprocessing.parent_process() is not None:
        die_with_parent()


def die_with_parent() -> None:
    """kill -9 of the run must not leave a process that holds the device. (Linux; elsewhere nothing happens.)"""
    if sys.platform == "linux":
        parent, run = os.getppid(), multiprocessing.parent_process()
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # one that died before we had asked sends no signal; a fork server is our parent, but not who asked for us
        if os.getppid() != parent or (run is not None and not run.is_alive()):
            os.kill(os.getpid(), signal.SIGKILL)
