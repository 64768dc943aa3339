"""Skywork-o1-Open-PRM for vLLM, read at the last token only, as qwen_prm.py does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

from tasks.engines.qwen_prm import StepwaveQwen2Prm

NAMES = WeightsMapper(orig_to_new_prefix={"v_head.summary.": "score."})


class StepwaveSkyworkPrm(StepwaveQwen2Prm):
    """Qwen2 backbone `model`, head `v_head.summary`: Linear to one value, of which the sigmoid is the reward."""

    labels = 1

    def head(self, linear: Callable[[int], nn.Module]) -> nn.Module:
        """Hidden states to one value. `linear`: makes a layer from hidden size to a width."""
        return linear(self.labels)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load the checkpoint's tensors; returns the names of those that were loaded."""
        return AutoWeightsLoader(self, ignore_unexpected_prefixes=["lm_head."]).load_weights(weights, mapper=NAMES)
