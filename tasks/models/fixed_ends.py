"""What all prompts of a model begin and end with."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.decoding.trajectory import Ids


@dataclass(frozen=True)
class FixedEnds:
    """What all prompts of a model have in common."""

    head: str
    tail: str
    head_ids: Ids
    tail_ids: Ids

    def hold(self, text: str) -> bool:
        """Does a prompt begin and end so?"""
        both = len(self.head) + len(self.tail)
        return len(text) >= both and text.startswith(self.head) and text.endswith(self.tail)

    def between(self, text: str) -> str:
        """What a prompt has of its own."""
        return text[len(self.head) : len(text) - len(self.tail)]
