"""What vLLM does on CUDA, done on CPUs: its core is forked out of the engine's process, and tensor-parallel workers out
of the core. On CPUs it would start fresh interpreters. Preloaded by the process that engines are forked from."""

from __future__ import annotations

import multiprocessing

import vllm.v1.engine.coordinator
import vllm.v1.engine.utils
import vllm.v1.executor.multiproc_executor


def forking() -> object:
    return multiprocessing.get_context("fork")


vllm.v1.engine.utils.get_mp_context = forking
vllm.v1.engine.coordinator.get_mp_context = forking
vllm.v1.executor.multiproc_executor.get_mp_context = forking
