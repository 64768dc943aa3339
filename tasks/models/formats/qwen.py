"""Qwen2.5-Math-PRM: a tag after each step; the reward is the probability of the second class at the tag.

Layout and use: the model card of Qwen/Qwen2.5-Math-PRM-7B. Steps are given without their separator, and each is
tokenized by itself, so that a longer solution's ids begin with the shorter one's and the engine's prefix cache holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.format import Format
from tasks.models.tokenizer import ModelVocabulary

TAG = "<extra_0>"
LAYOUT = "Qwen2ForProcessRewardModel"


class QwenFormat(Format):
    """Steps of Qwen2.5-Math-PRM."""

    layout = LAYOUT
    class_values = (0.0, 1.0)
    tag_tokens = 1

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        tag = vocabulary.token_id(TAG)
        if tag is None:
            raise UserError(
                f"models.prm.model: {checkpoint.name} has no step tag {TAG} in its tokenizer; format qwen needs it"
            )
        vocabulary.reserve(TAG)
        self.tag = tag

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """As `Format.fits`."""
        return LAYOUT in checkpoint.architectures

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `Format.encode_steps`."""
        steps = self.vocabulary.encode_steps([text.strip() for text in texts])
        for ids in steps:
            ids.append(self.tag)
        return steps

    def engine_arguments(self) -> dict[str, Any]:
        """The class that reads only the last tag, and so may use the prefix cache, is ours: see engines/qwen_prm.py."""
        return {"runner": "pooling", "hf_overrides": {"architectures": ["StepwaveQwen2Prm"]}}
