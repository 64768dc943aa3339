"""Qwen2.5-Math-PRM for vLLM, read at the last token only.

vLLM's own Qwen2ForProcessRewardModel pools the tags of the whole text and for that gives up the prefix cache. A wave
needs the newest tag's score alone, which is the prompt's last token: with LAST pooling the cache stays usable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.linear import ReplicatedLinear
from vllm.model_executor.layers.pooler import DispatchPooler
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsPP
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.qwen2 import Qwen2Model
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix


@default_pooling_type(seq_pooling_type="LAST", tok_pooling_type="ALL")
class StepwaveQwen2Prm(nn.Module, SupportsLoRA, SupportsPP):
    """Qwen2 backbone `model`, head `score`: Linear, ReLU, Linear to the classes (wrong, right)."""

    is_pooling_model = True
    labels = 2
    hf_to_vllm_mapper = getattr(Qwen2Model, "hf_to_vllm_mapper", None)
    packed_modules_mapping = {  # noqa: RUF012
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        settings = vllm_config.model_config
        self.config = settings.hf_config
        self.config.num_labels = self.labels
        self.model = Qwen2Model(vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))

        def linear(width: int) -> ReplicatedLinear:
            size = self.config.hidden_size
            return ReplicatedLinear(size, width, bias=True, params_dtype=settings.head_dtype, return_bias=False)

        self.score = self.head(linear)
        assert settings.pooler_config is not None
        self.pooler = DispatchPooler.for_seq_cls(settings.pooler_config, classifier=self.score)
        self.make_empty_intermediate_tensors = self.model.make_empty_intermediate_tensors

    def head(self, linear: Callable[[int], nn.Module]) -> nn.Module:
        """Hidden states to labels. `linear`: makes a layer from hidden size to a width."""
        return nn.Sequential(linear(self.config.hidden_size), nn.ReLU(), linear(self.labels))

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Embeddings [tokens, hidden] of token ids [tokens]."""
        return self.model.embed_input_ids(input_ids)

    def forward(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> Any:
        """Hidden states [tokens, hidden]; the pooler picks each prompt's last row and applies the head."""
        return self.model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load the checkpoint's tensors; returns the names of those that were loaded."""
        return AutoWeightsLoader(self, ignore_unexpected_prefixes=["lm_head."]).load_weights(weights)
