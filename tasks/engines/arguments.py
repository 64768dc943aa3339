"""The complete arguments of a role's vLLM engine: Stepwave's defaults, the memory plan, then the config's own."""

from __future__ import annotations

import os
from typing import Any

from schemas.config import Config, Role
from tasks.engines.memory import Share, on_cpu

RESERVED = {
    "model": "it stands in models.{role}.model",
    "tokenizer": "Stepwave reads the checkpoint's own",
    "runner": "the role decides it",
    "hf_overrides": "the PRM's format decides it",
    "trust_remote_code": "it stands in models.{role}.trust_remote_code",
}

CPU_DEFAULTS: dict[str, Any] = {
    # without an executor process of its own an engine starts in half the time
    "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
    "enforce_eager": True,
    # a prompt split over two batches cannot carry a seed on CPU
    "enable_chunked_prefill": False,
    # smaller blocks leave less of each step outside the prefix cache
    "block_size": 32,
}


def vllm_arguments(role: Role, config: Config, window: int, share: Share, of_format: dict[str, Any]) -> dict[str, Any]:
    """Engine arguments beside model and max_model_len. `of_format`: what the PRM's format asks for."""
    model = config.model(role)
    defaults: dict[str, Any] = {"disable_log_stats": True, "enable_prefix_caching": True}
    if on_cpu():
        defaults |= CPU_DEFAULTS
        defaults["max_num_batched_tokens"] = max(8192, window)
        defaults["max_num_seqs"] = config.run.cohort_size
        defaults["omp_threads"] = max(1, (os.cpu_count() or 1) // len(config.roles) if len(config.roles) > 1 else 1)
    own = {key: value for key, value in model.engine.arguments.items() if key != "max_model_len"}
    return defaults | share.arguments | {"trust_remote_code": model.trust_remote_code} | of_format | own
