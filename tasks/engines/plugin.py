"""vLLM loads this in each of its processes (entry point vllm.general_plugins)."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1


CLASSES = {"StepwaveQwen2Prm": "tasks.engines.qwen_prm", "StepwaveSkyworkPrm": "tasks.engines.skywork_prm"}
"""PRM class to the module that has it."""


def register() -> None:
    """Make the PRM classes known, keep what one prompt left in a cache from others, and let engine processes die with
    the run that started them."""
    from vllm import ModelRegistry
    from vllm.platforms import current_platform

    known = ModelRegistry.get_supported_archs()
    for name in CLASSES.keys() - known:
        ModelRegistry.register_model(name, f"{CLASSES[name]}:{name}")
    if current_platform.is_cpu():
        give_out_clean_blocks()
    if multiprocessing.parent_process() is not None:
        die_with_parent()


def give_out_clean_blocks() -> None:
    """Have vLLM zero a block of its cache before another prompt gets it, which it does of itself for some models only.

    On CPUs attention multiplies what lies beyond a prompt's end in its last block by 0, and 0 times NaN is NaN: one
    prompt for which a model computes NaN made others NaN that got its blocks later. (Triton kernels load zeros there.)
    """
    from vllm.v1.kv_cache_interface import KVCacheConfig

    KVCacheConfig.needs_kv_cache_zeroing = property(lambda self: True)  # type: ignore[method-assign,assignment]


def die_with_parent() -> None:
    """kill -9 of the run must not leave a process that holds the device. (Linux; elsewhere nothing happens.)"""
    if sys.platform == "linux":
        parent, run = os.getppid(), multiprocessing.parent_process()
        _ask_for_signal()
        # one that died before we had asked sends no signal; a fork server is our parent, but not who asked for us
        if os.getppid() != parent or (run is not None and not run.is_alive()):
            os.kill(os.getpid(), signal.SIGKILL)


def bind_forks() -> None:
    """Let every process that this one forks from its main thread die with it, and those that they fork with them.

    A fork asks for no signal by itself, and vLLM forks on GPUs: its core out of the engine's process, and the workers
    of parallel sizes out of the core. The signal comes when the forking *thread* ends, so that of other threads, which
    may end before what they forked, nothing is asked.
    """
    forking: list[int] = []

    def before() -> None:
        main = threading.current_thread() is threading.main_thread()
        forking[:] = [os.getpid()] if main else []

    def after() -> None:
        if forking:
            _ask_for_signal()
            if os.getppid() != forking[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    if sys.platform == "linux":
        os.register_at_fork(before=before, after_in_child=after)


def _ask_for_signal() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
