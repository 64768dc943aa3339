"""Skywork-o1-Open-PRM: a Qwen2 with a value head; the reward is the sigmoid of its value at the end of each line.

Layout and use: the model card of Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B and the code that it names. The problem
stands as plain text on a line of its own; what the tag divides is tokenized by itself, with the tag after it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.formats.format import Format
from tasks.vocabulary import ModelVocabulary
from tasks.weights import Checkpoint

ARCHITECTURE = "Qwen2ForPrmModel"
HEAD = "v_head.summary.weight"
TAG = "\n"


class SkyworkFormat(Format):
    layout = f"{ARCHITECTURE} (a Qwen2 with {HEAD})"
    worth = (1.0,)
    tag_tokens = 1

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        self.tag = TAG if settings.tag is None else settings.tag
        self.tag_id = self.one_token(self.tag, "tag")

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        if checkpoint.config.get("model_type") != "qwen2":
            return False
        return HEAD in checkpoint.heads if checkpoint.heads else ARCHITECTURE in checkpoint.architectures

    @staticmethod
    def template(tokenizer: Any) -> str:
        return (tokenizer.bos_token or "") + "{user}\n"

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        split = [[part for part in text.strip().split(self.tag) if part] for text in texts]
        parts = iter(self.vocabulary.encode_steps([part for parts in split for part in parts]))
        steps = []
        for of_step in split:
            ids = array("i")
            for _ in of_step:
                ids += next(parts)
                ids.append(self.tag_id)
            steps.append(ids or array("i", [self.tag_id]))
        return steps

    def engine_arguments(self) -> dict[str, Any]:
        return {"runner": "pooling", "hf_overrides": {"architectures": ["StepwaveSkyworkPrm"]}}
