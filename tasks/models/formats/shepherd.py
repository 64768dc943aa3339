"""Math-Shepherd: a language model that was taught to write a token for a right or a wrong step after each step's tag.

Layout and use: the model card of peiyi9979/math-shepherd-mistral-7b-prm. The reward is the probability of the good
token against the bad one at the tag. Problem and first step stand on one line, each later step on its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.models.chat import Chat
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.tokens import TokenFormat
from tasks.models.tokenizer import ModelVocabulary
from tasks.models.tokenizer_files import start_of_text

TAG, GOOD, BAD = "ки", "+", "-"


class ShepherdFormat(TokenFormat):
    """Steps that end in a tag, after which a token says right or wrong."""

    class_values = (0.0, 1.0)
    tag_tokens = 2  # what stands between steps, and the tag

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        self.tag = self.one_token(TAG if settings.tag is None else settings.tag, "tag")
        good = self.one_token(GOOD if settings.good is None else settings.good, "good")
        bad = self.one_token(BAD if settings.bad is None else settings.bad, "bad")
        self.tokens = (bad, good)

    @staticmethod
    def template(chat: Chat) -> str:
        """As `Format.template`."""
        return start_of_text(chat.tokenizer) + "{user}"

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `Format.encode_steps`."""
        texts = [("\n" if number else " ") + text.strip() for text, number in zip(texts, numbers, strict=True)]
        steps = self.vocabulary.encode_after(texts)
        for ids in steps:
            ids.append(self.tag)
        return steps
