"""Qwen2.5-Math-PRM: a tag after each step; the reward is the probability of the second class at the tag.

Layout and use: the model card of Qwen/Qwen2.5-Math-PRM-7B. Steps are given without their separator, and each is
tokenized by itself, so that a longer solution's ids begin with the shorter one's and the engine's prefix cache holds.
"""

from __future__ import annotations

from typing import Any

from tasks.decoding.trajectory import Ids
from tasks.errors import UserError
from tasks.vocabulary import ModelVocabulary

TAG = "<extra_0>"
LAYOUT = "Qwen2ForProcessRewardModel"


class QwenFormat:
    tag_tokens = 1
    """Tokens that the format adds to a step."""

    def __init__(self, vocabulary: ModelVocabulary, architectures: list[str], model: str) -> None:
        if LAYOUT not in architectures:
            found = ", ".join(architectures) or "no architecture"
            raise UserError(f"models.prm.model: {model} is {found}; format qwen reads {LAYOUT}")
        tag = vocabulary.token_id(TAG)
        if tag is None:
            raise UserError(f"models.prm.model: {model} has no step tag {TAG} in its tokenizer; format qwen needs it")
        vocabulary.reserve(TAG)
        self.vocabulary, self.tag = vocabulary, tag

    def encode_steps(self, texts: list[str]) -> list[Ids]:
        steps = self.vocabulary.encode_steps([text.strip() for text in texts])
        for ids in steps:
            ids.append(self.tag)
        return steps

    def engine_arguments(self) -> dict[str, Any]:
        """vLLM arguments. The class that reads only the last tag, and so may use the prefix cache, is ours: see
        engines/qwen_prm.py."""
        return {"runner": "pooling", "hf_overrides": {"architectures": ["StepwaveQwen2Prm"]}}
