"""Skywork-o1-Open-PRM: a Qwen2 with a value head; the reward is the sigmoid of its value at the end of each line.

Layout and use: the model card of Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B and the code that it names. The problem
stands as plain text on a line of its own; what the tag divides is tokenized by itself, with the tag after it, a blank
line's tag included. The tag that ends a step is the first of its separator; the rest of that stands before the next.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.models.chat import Chat
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.format import Format
from tasks.models.tokenizer import ModelVocabulary

ARCHITECTURE = "Qwen2ForPrmModel"
HEAD = "v_head.summary.weight"
TAG = "\n"


class SkyworkFormat(Format):
    """Steps with a value at their end."""

    layout = f"{ARCHITECTURE} (a Qwen2 with {HEAD})"
    class_values = (1.0,)

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        self.tag = TAG if settings.tag is None else settings.tag
        self.tag_id = self.one_token(self.tag, "tag")
        self.separator = vocabulary.prompt.separator
        self.between = self.separator.partition(self.tag)[2]
        self.tag_tokens = len(self._tagged([self.between])[0])

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """As `Format.fits`."""
        if checkpoint.config.get("model_type") != "qwen2":
            return False
        return HEAD in checkpoint.heads if checkpoint.heads else ARCHITECTURE in checkpoint.architectures

    @staticmethod
    def template(chat: Chat) -> str:
        """As `Format.template`."""
        return (chat.tokenizer.bos_token or "") + "{user}\n"

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `Format.encode_steps`."""
        bare = [text.removesuffix(self.separator).strip().removesuffix(self.tag) for text in texts]
        return self._tagged([self.between * (number > 0) + text for text, number in zip(bare, numbers, strict=True)])

    def engine_arguments(self) -> dict[str, Any]:
        """As `Format.engine_arguments`."""
        return {"runner": "pooling", "hf_overrides": {"architectures": ["StepwaveSkyworkPrm"]}}

    def _tagged(self, texts: list[str]) -> list[Ids]:
        """Ids of each text with the tag after every part of it, empty ones too."""
        split = [text.split(self.tag) for text in texts]
        parts = iter(self.vocabulary.encode_steps([part for parts in split for part in parts]))
        found = []
        for of_text in split:
            ids = array("i")
            for _ in of_text:
                ids += next(parts)
                ids.append(self.tag_id)
            found.append(ids)
        return found
