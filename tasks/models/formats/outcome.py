"""Outcome reward models: any sequence classifier, shown the solution so far as the assistant's turn of a chat.

The reward is the sigmoid of its one label, or the probability of the second of two. Such models are trained on whole
solutions; what they say of unfinished ones is to be calibrated.

A turn ends with its text, as many templates would trim it: what separates two steps stands before the second, and is
tokenized with it, so that a longer solution's ids begin with the shorter one's. Where a tokenizer has a token for a
sentence's end with the separator, the whole solution's ids are therefore other ones than of its text at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.errors import UserError
from tasks.models.chat import Chat
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.chat import around_turns
from tasks.models.formats.format import Format
from tasks.models.tokenizer import ModelVocabulary

SUFFIX = "ForSequenceClassification"


class OutcomeFormat(Format):
    """A sequence classifier that reads the solution so far."""

    layout = f"sequence classifiers (*{SUFFIX})"

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        labels = _labels(checkpoint.config)
        if labels > 2:
            raise UserError(f"models.prm.model: {checkpoint.name} has {labels} labels; format outcome reads one or two")
        self.class_values = (1.0,) if labels == 1 else (0.0, 1.0)
        if vocabulary.chat:
            [self.tail] = vocabulary.encode_markup([around_turns(vocabulary.chat, 2)[-1]])
        self.separator = vocabulary.prompt.separator
        self.tag_tokens = len(vocabulary.encode_after([self.separator])[0]) + len(self.tail)

    @staticmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """As `Format.fits`."""
        return any(name.endswith(SUFFIX) for name in checkpoint.architectures)

    @staticmethod
    def template(chat: Chat) -> str | None:
        """As classifiers are trained: without a system message of ours, and with the turn's own beginning."""
        return "{user}".join(around_turns(chat, 2)[:2]) if chat else None

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `Format.encode_steps`."""
        bare = [text.removesuffix(self.separator).rstrip() for text in texts]
        first = [i for i, number in enumerate(numbers) if number == 0]
        later = [i for i, number in enumerate(numbers) if number > 0]
        ids = self.vocabulary.encode_steps([bare[i].lstrip() for i in first])
        ids += self.vocabulary.encode_after([self.separator + bare[i] for i in later])
        return [of_step for _, of_step in sorted(zip([*first, *later], ids, strict=True))]

    def engine_arguments(self) -> dict[str, Any]:
        """As `Format.engine_arguments`."""
        # whatever the checkpoint was trained for, its labels are to become probabilities
        return {"runner": "pooling", "hf_overrides": {"problem_type": "single_label_classification"}}


def _labels(config: dict[str, Any]) -> int:
    """As transformers counts them."""
    names = config.get("id2label")
    return len(names) if names else int(config.get("num_labels") or 2)
