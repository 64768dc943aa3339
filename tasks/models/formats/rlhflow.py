"""RLHFlow's PRMs: a language model in a chat, where the user gives a step and the assistant says whether it is right.

Layout and use: the model card of RLHFlow/Llama3.1-8B-PRM-Deepseek-Data and the code that it names. The first turn holds
problem and first step. The reward is the probability of "+" against "-" where the assistant's turn begins; that turn
then reads "+", whatever the reward.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from schemas.config import PrmConfig
from tasks.decoding.trajectory import Ids
from tasks.errors import UserError
from tasks.models.chat import Chat
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.chat import around_turns
from tasks.models.formats.tokens import TokenFormat
from tasks.models.tokenizer import ModelVocabulary

GOOD, BAD = "+", "-"


class RlhflowFormat(TokenFormat):
    """Steps as the user's turns in a chat."""

    class_values = (0.0, 1.0)

    def __init__(self, vocabulary: ModelVocabulary, checkpoint: Checkpoint, settings: PrmConfig) -> None:
        super().__init__(vocabulary, checkpoint, settings)
        _, asks, again, asks_again, _ = around_turns(vocabulary.chat, 4)
        if asks != asks_again:
            raise UserError("models.prm.model: its chat template writes the first turn in another way than later ones")
        verdicts = [asks + verdict + again for verdict in (BAD, GOOD)]
        self.asks, bad, good = vocabulary.encode_markup([asks, *verdicts])
        # the token that a verdict is where it stands, which may differ from what it is by itself
        at = len(self.asks)
        if bad[:at] != self.asks or good[:at] != self.asks or bad[at + 1 :] != good[at + 1 :]:
            raise UserError(f"models.prm.model: {GOOD} and {BAD} are no tokens of their own in the turns of its chat")
        self.tokens = (bad[at], good[at])
        self.verdict = good[at:]
        self.tag_tokens = len(self.verdict) + at

    @staticmethod
    def template(chat: Chat) -> str:
        """As `Format.template`."""
        return around_turns(chat, 4)[0] + "{user}"

    def encode_steps(self, texts: list[str], numbers: Sequence[int]) -> list[Ids]:
        """As `Format.encode_steps`."""
        texts = [text.strip() for text in texts]
        found: list[Ids] = [array("i")] * len(texts)
        first = [i for i, number in enumerate(numbers) if number == 0]
        later = [i for i, number in enumerate(numbers) if number > 0]
        for i, ids in zip(first, self.vocabulary.encode_after([" " + texts[i] for i in first]), strict=True):
            found[i] = ids + self.asks
        for i, ids in zip(later, self.vocabulary.encode_steps([texts[i] for i in later]), strict=True):
            found[i] = self.verdict + ids + self.asks
        return found
