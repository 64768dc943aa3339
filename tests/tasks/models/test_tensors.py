"""What checkpoints of many makers hold, counted from headers as their files have them."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.models.tensors import Weights, cache_per_token, kv_heads, packed_bits

BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "U8": 8, "I8": 8, "BOOL": 8, "F4": 4}


def header(*tensors: tuple[str, str, list[int]]) -> dict[str, Any]:
    found, at = {}, 0
    for name, kind, shape in tensors:
        numbers = 1
        for side in shape:
            numbers *= side
        end = at + numbers * BITS.get(kind, 8) // 8
        found[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, end]}
        at = end
    return found


def counted(config: dict[str, Any], *tensors: tuple[str, str, list[int]]) -> Weights:
    weights = Weights()
    weights.take(header(*tensors), packed_bits(config))
    return weights


W = "model.layers.0.mlp.down_proj"
PLAIN = (f"{W}.weight", "BF16", [64, 32])


@pytest.mark.parametrize(
    ("quantization", "tensors"),
    [
        (None, [PLAIN]),
        (None, [(f"{W}.weight", "F32", [64, 32])]),
        (None, [PLAIN, ("h.0.attn.bias", "U8", [1, 1, 64, 64]), ("mask", "BOOL", [64]), ("position_ids", "I64", [64])]),
        ({"quant_method": "fp8"}, [(f"{W}.weight", "F8_E4M3", [64, 32]), (f"{W}.weight_scale_inv", "F32", [1, 1])]),
        (
            {"quant_method": "gptq", "bits": 4},
            [
                (f"{W}.qweight", "I32", [4, 64]),
                (f"{W}.qzeros", "I32", [1, 8]),
                (f"{W}.scales", "F16", [1, 64]),
                (f"{W}.g_idx", "I32", [32]),
            ],
        ),
        ({"quant_method": "gptq", "bits": 8}, [(f"{W}.qweight", "I32", [8, 64]), (f"{W}.scales", "F16", [1, 64])]),
        ({"quant_method": "awq", "w_bit": 4}, [(f"{W}.qweight", "I32", [32, 8]), (f"{W}.qzeros", "I32", [1, 8])]),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            [
                (f"{W}.weight", "U8", [1024, 1]),
                (f"{W}.weight.absmax", "U8", [32]),
                (f"{W}.weight.quant_map", "F32", [16]),
                (f"{W}.weight.quant_state.bitsandbytes__nf4", "U8", [100]),
            ],
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_8bit": True},
            [(f"{W}.weight", "I8", [64, 32]), (f"{W}.SCB", "F32", [64]), (f"{W}.weight_format", "U8", [])],
        ),
        (
            {"quant_method": "mxfp4"},
            [(f"{W}_blocks", "U8", [64, 1, 16]), (f"{W}_scales", "U8", [64, 1])],
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}},
            [
                (f"{W}.weight_packed", "I32", [64, 4]),
                (f"{W}.weight_scale", "BF16", [64, 1]),
                (f"{W}.weight_shape", "I64", [2]),
            ],
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4"},
            [
                (f"{W}.weight", "U8", [64, 16]),
                (f"{W}.weight_scale", "F8_E4M3", [64, 2]),
                (f"{W}.weight_scale_2", "F32", []),
                (f"{W}.input_scale", "F32", []),
            ],
        ),
        ({"quant_method": "mxfp8"}, [(f"{W}.weight", "F8_E4M3", [64, 32]), (f"{W}.weight_scale", "F8_E8M0", [64, 1])]),
        ({"quant_method": "fp4"}, [(f"{W}.weight", "F4", [64, 32])]),
    ],
)
def test_a_layer_has_as_many_parameters_however_it_is_stored(
    quantization: dict[str, Any] | None, tensors: list[tuple[str, str, list[int]]]
) -> None:
    config = {} if quantization is None else {"quantization_config": quantization}
    weights = counted(config, *tensors)
    assert weights.parameters == 64 * 32
    assert weights.size == sum(t["data_offsets"][1] - t["data_offsets"][0] for t in header(*tensors).values())


@pytest.mark.parametrize(
    ("config", "active"),
    [
        ({}, 100 + 80),
        ({"num_local_experts": 8, "num_experts_per_tok": 2}, 100 + 20),
        ({"n_routed_experts": 4, "num_experts_per_tok": 1}, 100 + 20),
        ({"num_experts": 8}, 180),
        ({"num_experts_per_tok": 2}, 180),
        ({"num_experts": 2, "num_experts_per_tok": 2}, 180),
        ({"moe_num_experts": 8, "moe_k": 2}, 100 + 20),  # ERNIE 4.5
        ({"moe_num_experts": [8, 8], "moe_k": 2}, 100 + 20),
        ({"num_experts": 8, "moe_topk": [2, 2, 2]}, 100 + 20),  # Hunyuan
        ({"num_local_experts": 8, "experts_per_token": 2}, 100 + 20),
        ({"ffn_config": {"moe_num_experts": 8, "moe_top_k": 2}}, 100 + 20),  # DBRX
        ({"ffn_config": "none", "num_experts": "8", "moe_k": []}, 180),
    ],
)
def test_a_token_is_computed_with_the_experts_that_it_goes_to(config: dict[str, Any], active: int) -> None:
    weights = counted(
        config,
        ("model.embed_tokens.weight", "BF16", [60]),
        ("model.layers.0.mlp.shared_experts.up_proj.weight", "BF16", [40]),
        ("model.layers.0.mlp.experts.0.up_proj.weight", "BF16", [50]),
        ("model.layers.0.mlp.experts.gate_up_proj", "BF16", [30]),
    )
    assert (weights.parameters, weights.active(config)) == (180, active)


def test_experts_may_stand_in_one_tensor_of_another_name() -> None:
    config = {"num_local_experts": 8, "num_experts_per_tok": 2}
    at = "model.layers.0.block_sparse_moe"
    tensors = [(f"{at}.input_linear.weight", "BF16", [8, 60]), (f"{at}.output_linear.weight", "BF16", [8, 20])]
    weights = counted(config, ("model.layers.0.shared_mlp.input_linear.weight", "BF16", [40]), *tensors)
    assert (weights.parameters, weights.active(config)) == (40 + 640, 40 + 160)


@pytest.mark.parametrize(
    ("stored", "dtype", "quantization", "loaded"),
    [
        ("BF16", "auto", None, 2000),
        ("F32", "auto", None, 2000),
        ("F32", "float32", None, 4000),
        ("BF16", "float", None, 4000),
        ("F16", "bfloat16", None, 2000),
        ("BF16", "auto", "fp8", 1000),
        ("F32", "auto", "fp8_per_tensor", 1000),
        ("BF16", "auto", "bitsandbytes", 500),
        ("F8_E4M3", "auto", "fp8", 1000),
        ("F8_E4M3", "float32", None, 1000),
        ("BF16", "auto", "awq", 2000),
    ],
)
def test_an_engine_holds_weights_in_the_precision_that_it_is_asked_for(
    stored: str, dtype: str, quantization: str | None, loaded: int
) -> None:
    assert counted({}, ("model.w", stored, [1000])).loaded(dtype, quantization) == loaded


DEEPSEEK = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_hidden_layers": 61, "num_attention_heads": 128}
HEADS = {"num_attention_heads": 32, "hidden_size": 4096}
QWEN = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}


@pytest.mark.parametrize(
    ("config", "heads", "bytes_a_token"),
    [
        (QWEN, 4, 2 * 28 * 4 * 128 * 2),
        (QWEN | {"head_dim": 64}, 4, 2 * 28 * 4 * 64 * 2),
        (QWEN | {"head_dim": None, "num_key_value_heads": None}, 28, 2 * 28 * 28 * 128 * 2),
        (DEEPSEEK, 1, 61 * (512 + 64) * 2),
        ({"num_hidden_layers": 2, "num_attention_heads": 8, "hidden_size": 64, "multi_query": True}, 1, 2 * 2 * 8 * 2),
        (
            {"num_hidden_layers": 2, "num_attention_heads": 8, "hidden_size": 64, "multi_query": True}
            | {"new_decoder_architecture": True, "num_kv_heads": 4},
            4,
            2 * 2 * 4 * 8 * 2,
        ),
        (HEADS | {"num_layers": 40, "kv_channels": 128, "multi_query_group_num": 2}, 2, 2 * 40 * 2 * 128 * 2),
        ({"n_layer": 24, "n_head": 16, "n_embd": 1024}, 16, 2 * 24 * 16 * 64 * 2),
        ({"num_hidden_layers": 2, "head_dim": 64, "num_key_value_heads": [2, 4]} | HEADS, 4, 2 * 2 * 4 * 64 * 2),
        (QWEN | {"layer_types": ["linear_attention"] * 21 + ["full_attention"] * 7}, 4, 2 * 7 * 4 * 128 * 2),
        (QWEN | {"layer_types": ["sliding_attention", "full_attention"] * 14}, 4, 2 * 28 * 4 * 128 * 2),
    ],
)
def test_the_cache_of_a_token_follows_from_the_kind_of_attention(
    config: dict[str, Any], heads: int, bytes_a_token: int
) -> None:
    assert (kv_heads(config), cache_per_token(config)) == (heads, bytes_a_token)
