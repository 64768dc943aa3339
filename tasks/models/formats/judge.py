"""A language model asked how good the last step is (SpecReason, arXiv 2504.07891): one token, a digit from 0 to 9.

The reward is the expected digit by the digits' probabilities, as a share of 9. The model reads the solution as one that
writes it does, so that a writer that is the judge has it in its cache; only the question, which ends every prompt, is
read anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.chat import around_turns
from tasks.models.formats.tokens import TokenFormat
from tasks.models.tokenizer import ModelVocabulary

QUESTION = (
    "How good is the last step of this solution so far? Judge only whether it is correct and follows from what stands "
    "before it, not its style. Answer with one digit, from 0 (wrong) to 9 (certainly right)."
)
ANSWER = "Score: "
DIGITS = "0123456789"


class JudgeFormat(TokenFormat):
    """A language model that rates each step with a digit."""

    own_chat = False  # it reads what writers read
    class_values = tuple(int(digit) / 9 for digit in DIGITS)

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        asked = f"\n\n{QUESTION}\n\n{ANSWER}"
        if vocabulary.template is None:
            _, _, again, answers, _ = around_turns(vocabulary.chat, 4)
            asked = again + QUESTION + answers + ANSWER
        # the token that a digit is where it stands, which may hold the blank before it
        answered = vocabulary.encode_markup([asked + digit for digit in DIGITS])
        self.tail: Ids = answered[0][:-1]
        if any(ids[:-1] != self.tail for ids in answered) or len({ids[-1] for ids in answered}) < len(DIGITS):
            raise UserError(f"models.prm.model: digits are no tokens of their own for {checkpoint.name}")
        self.tokens = tuple(ids[-1] for ids in answered)
        self.tag_tokens = len(self.tail)

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `Format.encode_steps`."""
        return self.vocabulary.encode_steps(texts)
