"""What every PRM format says of itself, and how one is told that a checkpoint is not of its layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from typing import Any

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.errors import UserError
from tasks.models.chat import Chat
from tasks.models.checkpoint import Checkpoint
from tasks.models.tokenizer import ModelVocabulary


class Format(ABC):
    """How one kind of reward model reads steps. Implements `decoding.models.StepFormat`.

    The ids of a solution must begin with those of any of its beginnings, so that the engine's prefix cache holds.
    """

    layout: str
    """The checkpoints that it reads, for messages."""
    class_values: tuple[float, ...]
    """The reward of each class of the model's output; a step's reward is their mean by probability."""
    tokens: tuple[int, ...] | None = None
    """Ids of the tokens that are the classes, for language models; such a model's engine can write as well. None where
    the model has a head for them."""
    tag_tokens: int
    """Tokens that the format adds to a step, at most, `tail` among them."""
    own_chat: bool = True
    """True if the problem is put into the model's own chat template, as in its training, whatever the writers'
    prompt.template says. That holds if `template` gives None and the model has a chat template."""
    tail: Ids = array("i")
    """Ids that end every prompt, after the last step; the next step does not go on from them."""

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        self.vocabulary, self.checkpoint, self.settings = vocabulary, checkpoint, settings

    @staticmethod
    @abstractmethod
    def fits(checkpoint: Checkpoint) -> bool:
        """Is a checkpoint of the layout that the format reads?"""

    @staticmethod
    def template(chat: Chat) -> str | None:
        """Text before the first step, special tokens and all, with {user} in the place of the problem; None where it is
        the writers' prompt. Raises UserError where it cannot be made."""
        return None

    @abstractmethod
    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """Ids of each step's text by itself, up to and including the position whose output is the reward, unless that
        is in `tail`. `numbers`: its place in its solution, from 0."""

    @abstractmethod
    def engine_arguments(self) -> dict[str, Any]:
        """vLLM arguments with which the model gives its classes' probabilities at the last token, and may use the
        prefix cache."""

    def one_token(self, text: str, setting: str) -> int:
        """Id of a text that must be one token by itself. Raises UserError."""
        [ids] = self.vocabulary.encode_steps([text])
        if len(ids) != 1:
            raise UserError(
                f"models.prm.{setting}: {text!r} is {len(ids)} tokens in the tokenizer of {self.checkpoint.name}; "
                f"format {self.settings.format} needs one"
            )
        return ids[0]
