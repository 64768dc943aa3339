"""Every engine argument of vLLM 0.32, and whether a configuration may give it.

One that may is passed on and has its effect. All others are refused with the reason: Stepwave decides them, or nothing
that Stepwave asks of an engine would show that they were given. A test holds these lists against vLLM's own, so that a
newer vLLM is looked through before it is taken.
"""

from __future__ import annotations

import difflib
from typing import Any

from schemas.config import EngineConfig
from tasks.engines.installation import check_vllm
from tasks.errors import UserError


def _names(text: str) -> list[str]:
    return text.split()


PASSED = frozenset(
    _names(
        """
        dtype quantization quantization_config allow_deprecated_quantization kv_cache_dtype
        kv_cache_dtype_skip_layers load_format download_dir safetensors_load_strategy
        safetensors_prefetch_num_threads safetensors_prefetch_block_size model_loader_extra_config
        ignore_patterns pt_load_map_location max_parallel_loading_workers model_impl
        disable_sliding_window language_model_only limit_mm_per_prompt skip_mm_profiling
        mm_processor_cache_gb use_fp64_gumbel tensor_parallel_size pipeline_parallel_size
        data_parallel_size prefill_context_parallel_size decode_context_parallel_size
        dcp_comm_backend dcp_q_replicate dcp_kv_cache_interleave_size cp_kv_cache_interleave_size
        device_ids distributed_executor_backend distributed_timeout_seconds
        cpu_distributed_timeout_seconds numa_bind numa_bind_nodes numa_bind_cpus
        disable_custom_all_reduce enable_expert_parallel enable_ep_weight_filter
        enable_batch_sharded_sampling enable_hc_sp all2all_backend expert_placement_strategy
        enable_eplb eplb_config enable_dbo ubatch_size dbo_decode_token_threshold
        dbo_prefill_token_threshold dp_sync_interval disable_nccl_for_dp_synchronization
        gpu_memory_utilization kv_cache_memory_bytes num_gpu_blocks_override block_size
        enable_prefix_caching prefix_caching_hash_algo prefix_cache_retention_interval
        prefix_match_unit kv_offloading_size kv_offloading_backend kv_transfer_config
        kv_sharing_fast_prefill swa_bounded_replay disable_hybrid_kv_cache_manager offload_backend
        cpu_offload_gb cpu_offload_params offload_group_size offload_num_in_group
        offload_prefetch_step offload_params max_num_batched_tokens max_num_scheduled_tokens
        max_num_seqs max_num_active_seqs long_prefill_token_threshold
        long_prefill_token_threshold_adaptive enable_chunked_prefill scheduler_reserve_full_isl
        prefill_schedule_interval watermark async_scheduling enforce_eager cudagraph_capture_sizes
        max_cudagraph_capture_size compilation_config optimization_level performance_mode
        attention_backend attention_config disable_cascade_attn kernel_config ir_op_priority
        moe_backend linear_backend sparse_indexer_topk_backend enable_flashinfer_autotune
        gdn_prefill_backend kda_prefill_backend kda_decode_backend mamba_config mamba_backend
        mamba_ssu_algorithm mamba_cache_dtype mamba_ssm_cache_dtype mamba_block_size
        mamba_cache_mode enable_mamba_shared_prefix_checkpoint
        enable_mamba_cache_stochastic_rounding mamba_cache_philox_rounds use_replayssm
        replayssm_buffer_len engram_config additional_config max_model_len speculative_config
        """
    )
)
"""Arguments that are passed on: they affect numerics, memory, placement and speed. `max_model_len` is Stepwave's window
as well."""

WRITERS_ALONE = {
    "speculative_config": "a reward model writes nothing",
    "model_impl": "its format decides which class reads the reward model",
}
"""Of these, what the engine of a reward model does not take."""

_SAMPLING = "decoding.temperature and decoding.top_p decide how tokens are drawn"
_ONE_MACHINE = "an engine runs on this machine alone; run.workers spreads a run over several"
_UNHEARD = (
    "Stepwave does not read it; run.metrics_port has a run's metrics, and the log of an engine that dies is shown"
)
_TEXT = "prompts are text alone"
_TOKENS = "the engine is asked for tokens, and parses nothing"
_NO_ADAPTER = "no request asks for an adapter; merge it into the checkpoint"
_CHECKPOINT = "it stands in models.{role}.model, and is counted and planned for from there"
_FORMAT = "the PRM's format decides it"
_FOREIGN = "Stepwave relies on vLLM's own"
_SLEEP = "run.sharing decides it"
_AT_ONCE = "Stepwave decides how much is asked at a time (run.in_flight)"

DECIDED: dict[str, str] = {
    "model": "it stands in models.{role}.model",
    "model_weights": _CHECKPOINT,
    "hf_config_path": _CHECKPOINT,
    "config_format": "Stepwave reads the checkpoint's config.json",
    "served_model_name": "no request names the model",
    "tokenizer": "Stepwave reads the checkpoint's own",
    "tokenizer_mode": "Stepwave reads the checkpoint's own tokenizer, and the engine must read it alike",
    "skip_tokenizer_init": "steps end on text, which the engine's tokenizer finds",
    "tokens_only": "steps end on text, which the engine's tokenizer finds",
    "trust_remote_code": "it stands in models.{role}.trust_remote_code",
    "hf_token": "set HF_TOKEN in the environment",
    "revision": "give a directory that holds it: tokenizer and weights must be of one revision",
    "tokenizer_revision": "give a directory that holds it",
    "code_revision": "give a directory that holds it",
    "seed": "decoding.seed decides it: every request has a seed that follows from it",
    "generation_config": f"{_SAMPLING}, and the checkpoint's own ends of text end a solution",
    "override_generation_config": _SAMPLING,
    "logits_processors": f"it would change what is written, and no table would show it; {_SAMPLING}",
    "watermark_config": f"it would change what is written, and no table would show it; {_SAMPLING}",
    "diffusion_config": "steps are written token by token",
    "max_logprobs": "the PRM's format decides how many are asked for",
    "logprobs_mode": "rewards by judge and confidence are made of log-probabilities as the model has them",
    "runner": "the role decides it",
    "convert": _FORMAT,
    "hf_overrides": _FORMAT,
    "model_class_overrides": _FORMAT,
    "pooler_config": _FORMAT,
    "spec_method": "give speculative_config",
    "spec_model": "give speculative_config",
    "spec_tokens": "give speculative_config",
    "enable_sleep_mode": _SLEEP,
    "sleep_mode_offload_cudagraph": _SLEEP,
    "sleep_preserve_parameter_names": _SLEEP,
    "enable_cumem_allocator": _SLEEP,
    "enable_nccl_comm_suspend": _SLEEP,
    "enable_fault_tolerance": "run.engine_restarts decides what follows a fault",
    "fault_tolerance_config": "run.engine_restarts decides what follows a fault",
    "shutdown_timeout": "Stepwave ends its engines once they have nothing in flight",
    "max_num_queued_reqs": f"requests beyond it would fail; {_AT_ONCE}",
    "max_num_queued_tokens": f"requests beyond it would fail; {_AT_ONCE}",
    "scheduling_policy": "requests have no priorities",
    "stream_interval": "a step is taken when it is whole",
    "scheduler_cls": _FOREIGN,
    "worker_cls": _FOREIGN,
    "worker_extension_cls": _FOREIGN,
    "weight_transfer_config": "weights do not change during a run",
    "enable_elastic_ep": "nobody resizes a running engine",
    "elastic_ep_max_dp_size": "nobody resizes a running engine",
    "enable_trace_replay": "no request replays a trace",
    "enable_prompt_embeds": "prompts are token ids",
    "fail_on_environ_validation": "it is for servers; unknown variables of the environment change nothing",
    "use_tqdm_on_load": _UNHEARD,
    "renderer_num_workers": "Stepwave makes prompts itself",
    "io_processor_plugin": _TOKENS,
    "structured_outputs_config": _TOKENS,
    "reasoning_parser": _TOKENS,
    "reasoning_parser_plugin": _TOKENS,
    "reasoning_config": _TOKENS,
    "enable_return_routed_experts": _TOKENS,
    "return_sampling_mask": _TOKENS,
    "aux_output_config": _TOKENS,
    **dict.fromkeys(
        _names(
            """
            nnodes node_rank master_addr master_port data_parallel_rank data_parallel_start_rank
            data_parallel_size_local data_parallel_address data_parallel_rpc_port
            data_parallel_hybrid_lb data_parallel_external_lb data_parallel_multi_port_external_lb
            data_parallel_backend
            """
        ),
        _ONE_MACHINE,
    ),
    **dict.fromkeys(("_api_process_count", "_api_process_rank"), "it is vLLM's own"),
    **dict.fromkeys(
        _names(
            """
            disable_log_stats aggregate_engine_logging enable_log_requests logging_config log_level
            log_config_file show_hidden_metrics_for_version otlp_traces_endpoint
            collect_detailed_traces per_request_spec_decode_metrics kv_cache_metrics
            kv_cache_metrics_sample custom_histogram_buckets cudagraph_metrics
            enable_layerwise_nvtx_tracing enable_mfu_metrics enable_logging_iteration_details
            jit_monitor_mode jit_monitor_verbose enable_mm_processor_stats profiler_config
            ray_workers_use_nsight kv_events_config
            """
        ),
        _UNHEARD,
    ),
    **dict.fromkeys(
        _names(
            """
            allowed_local_media_path allowed_media_domains enable_mm_embeds interleave_mm_strings
            media_io_kwargs mm_processor_kwargs mm_processor_cache_type mm_hasher_algorithm
            mm_shm_cache_max_object_size_mb mm_encoder_only mm_encoder_tp_mode
            mm_encoder_attn_backend mm_encoder_attn_dtype mm_encoder_fp8_scale_path
            mm_encoder_fp8_scale_save_path mm_encoder_fp8_scale_save_margin video_pruning_rate
            video_pruning_method mm_tensor_ipc mm_processor_device mm_ipc_gpu_memory_gb
            mm_device_do_normalize disable_chunked_mm_input enable_shm_tensor_arena
            ec_transfer_config ec_manager_config
            """
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        _names(
            """
            enable_lora max_loras max_lora_rank default_mm_loras fully_sharded_loras max_cpu_loras
            lora_dtype lora_target_modules enable_tower_connector_lora specialize_active_lora
            enable_mixed_moe_lora_format enable_moe_shared_loras max_lora_cls_labels
            """
        ),
        _NO_ADAPTER,
    ),
}
"""What is refused, and why."""


def check(role: str, engine: EngineConfig, here: bool) -> None:
    """UserError where the vLLM engine of a role is not to be given one of its arguments, or cannot run `here`."""
    if here:
        check_vllm()
    for name, value in engine.arguments.items():
        check_argument(role, name, value)


def check_argument(role: str, name: str, value: Any) -> None:
    """Raises UserError for an argument that a role's vLLM engine must not be given."""
    where = f"models.{role}.engine.{name}"
    if name in DECIDED:
        raise UserError(f"{where}: not to be set here: {DECIDED[name].format(role=role)}")
    if name not in PASSED:
        near = difflib.get_close_matches(name, PASSED, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{where}: not an engine argument of vLLM that Stepwave knows{hint}")
    if role == "prm" and name in WRITERS_ALONE:
        raise UserError(f"{where}: not to be set here: {WRITERS_ALONE[name]}")
    if name == "load_format" and value == "dummy":
        raise UserError(f"{where}: dummy weights are random, and so would be all that is written with them")
