"""Loads what engine processes have in common, once. Only the process that they are forked from imports it.

Importing vLLM takes longer than loading a small model. Nothing here touches a device, so forks may use any.
"""

from __future__ import annotations

import gc
import importlib
import signal

from tasks.engines.plugin import die_with_parent

MODULES = (
    "vllm.v1.engine.llm_engine",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
    "vllm.model_executor.models.qwen2",
    "vllm.model_executor.model_loader",
    "tasks.engines.qwen_prm",
    "tasks.engines.pumps",
    "tasks.engines.worker",
)

die_with_parent()
# sent to the whole group it would take the engines from under a run that is about to end
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for module in MODULES:
    try:
        importlib.import_module(module)
    except Exception:  # an engine's process will meet it too, and has a log to tell it in
        break
gc.freeze()  # vLLM collects garbage often while it starts: not through all that was imported here
