"""The arguments of a role's vLLM engine: Stepwave's defaults, then the memory plan, then the configuration's own."""

from __future__ import annotations

import os
from typing import Any

from schemas.config import Config
from schemas.methods import Role
from tasks.engines.concurrency import most_requests
from tasks.engines.devices import on_cpu
from tasks.engines.shares import Share

MOST_SEQUENCES = 512
"""Of a GPU's batch: beyond it, what vLLM sets aside for sampling is no longer small beside the cache."""
BATCHED_TOKENS = 8192
"""Of a GPU's iteration. Left alone, vLLM takes 2,048 for engines that are started as ours are: that is made for answers
that somebody waits for. Here only throughput counts. Prompts, and steps that other roles wrote, are read in bulk, and
hundreds of sequences that write take a token each of the same budget. From some 8,192 on prefill computes at full
speed; the activations of so many still fit what is set aside for them."""
KNOWS_BETTER = ("performance_mode", "all2all_backend")
"""Arguments by which vLLM chooses a number of its own."""

PLUGIN = "stepwave"
"""What our plugin for vLLM is called, which brings the reward models' classes."""

CPU_DEFAULTS: dict[str, Any] = {
    # without an executor process of its own an engine starts in half the time
    "distributed_executor_backend": "vllm.v1.executor.uniproc_executor.UniProcExecutor",
    "enforce_eager": True,
    # a prompt split over two batches cannot carry a seed on CPU
    "enable_chunked_prefill": False,
    # smaller blocks leave less of each step outside the prefix cache
    "block_size": 32,
}


def vllm_arguments(role: Role, config: Config, window: int, share: Share, of_method: dict[str, Any]) -> dict[str, Any]:
    """Engine arguments beside model and max_model_len. `of_method`: what the PRM's format asks for, or a draft."""
    model = config.model(role)
    defaults: dict[str, Any] = {"disable_log_stats": True, "enable_prefix_caching": True}
    if on_cpu():
        defaults |= CPU_DEFAULTS
        defaults["max_num_batched_tokens"] = max(8192, window)
        defaults["max_num_seqs"] = most_requests(config, cpu=True)
    own = {key: value for key, value in model.engine.arguments.items() if key != "max_model_len"}
    if not on_cpu():
        if not _whole(window, of_method, own) and not any(name in own for name in KNOWS_BETTER):
            defaults["max_num_batched_tokens"] = BATCHED_TOKENS
        tokens = own.get("max_num_batched_tokens")
        at_once = tokens if isinstance(tokens, int) and tokens > 0 else BATCHED_TOKENS  # vLLM wants one for each
        defaults["max_num_seqs"] = min(most_requests(config), MOST_SEQUENCES, at_once)
    return defaults | share.arguments | {"trust_remote_code": model.trust_remote_code} | of_method | own


def _whole(window: int, of_method: dict[str, Any], own: dict[str, Any]) -> bool:
    """May vLLM have to read contexts of more than BATCHED_TOKENS at once? It does where the user forbids it to cut
    them, and for classifiers that read in both directions."""
    cut = own.get("enable_chunked_prefill", True) and of_method.get("runner") != "pooling"
    return window > BATCHED_TOKENS and not cut


def vllm_environment(config: Config) -> dict[str, str]:
    """Environment variables of engine processes. Those that the user has set count more, but for
    `worker.PROMISED`."""
    found: dict[str, str] = {}
    if on_cpu():
        # engines and the run share the cores: threads that spin while they wait, or sit on one core, cost more than
        # they give, and with one thread each repeats of a run come out bit for bit the same
        processes = 1 + sum(config.model(role).engine.replicas for role in config.engine_roles)
        threads = max(1, (os.cpu_count() or 1) // processes)
        found = {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": str(threads),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # an engine's process serves nothing else: one more costs cores
            # a kernel for each length of batch there ever was, of 1,024 lengths, took half a GiB and was no faster
            "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
        }
    if (named := os.environ.get("VLLM_PLUGINS")) is not None:  # vLLM then loads no others
        found["VLLM_PLUGINS"] = ",".join(dict.fromkeys([*filter(None, named.split(",")), PLUGIN]))
    if config.run.batch_invariant:
        found["VLLM_BATCH_INVARIANT"] = "1"
    return found
