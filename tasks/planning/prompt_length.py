"""Which rows of a problem set make a prompt that leaves no room to write, and how long the others' are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from schemas.config import Config
from tasks.decoding.trajectory import Ids, Limits
from tasks.models.formats.format import Format
from tasks.models.tokenizer import ModelVocabulary, most_bytes
from tasks.planning.prefixes import prefixes, separated
from tasks.problems.prompt import user_message
from tasks.problems.survey import Longest


class TooLong:
    """Which rows make a prompt that leaves no room to write."""

    def __init__(
        self, config: Config, roles: Mapping[str, ModelVocabulary], limits: Limits, prm_format: Format | None
    ) -> None:
        """`roles`: the vocabulary of each."""
        self.config, self.roles, self.format = config, roles, prm_format
        self.room = {role: limits.windows[role] - 1 - (limits.tag_tokens if role == "prm" else 0) for role in roles}
        self.longest = Longest()
        """Of the rows that were asked about, and are not too long."""

    @cached_property
    def key(self) -> str:
        """Changes with whatever decides the answers, and with the input that is asked about."""
        roles = {role: [vocabulary.prompts_key, self.room[role]] for role, vocabulary in self.roles.items()}
        parts = [self.config.input.model_dump(), self.config.prompt.model_dump(exclude={"date"}), roles]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def __call__(self, rows: list[dict[str, Any]]) -> list[bool]:
        """For each row, in order: is its prompt, with its prefix, longer than a role's model takes?"""
        users = [user_message(self.config.prompt, row["problem"], row["choices"]) for row in rows]
        verdicts = [False] * len(rows)
        for role, vocabulary in self.roles.items():
            open_ones = [i for i, verdict in enumerate(verdicts) if not verdict]
            longer = vocabulary.longer_than([users[i] for i in open_ones], self.room[role])
            for i, long in zip(open_ones, longer, strict=True):
                verdicts[i] = long
            begun = [i for i in open_ones if not verdicts[i] and rows[i]["prefix"]]
            if begun:
                steps = [separated(rows[i]["prefix"], self.config.prompt.separator) for i in begun]
                heads = vocabulary.prompts([users[i] for i in begun])
                tails = self._begun(role, steps)
                for i, head, tail in zip(begun, heads, tails, strict=True):
                    verdicts[i] = len(head) + len(tail) > self.room[role]
        self._note([(users[i], rows[i]["prefix"] or []) for i in range(len(rows)) if not verdicts[i]])
        return verdicts

    def _note(self, usable: list[tuple[str, list[str]]]) -> None:
        """Keep the longest of these user messages, with the steps that their solutions begin with."""
        separator = self.config.prompt.separator
        begun = [(user, separated(prefix, separator)) for user, prefix in usable]
        sizes = [most_bytes(user) + sum(map(most_bytes, steps)) for user, steps in begun]
        size, n = max(((size, n) for n, size in enumerate(sizes)), default=(0, 0))
        steps = max((len(steps) for _, steps in begun), default=0)
        tokens = self.longest.tokens
        if size > self.longest.bytes:
            user, before = begun[n]
            tokens = {role: self._tokens(role, user, before) for role in self.roles}
        self.longest = Longest(max(size, self.longest.bytes), max(steps, self.longest.steps), tokens)

    def _tokens(self, role: str, user: str, steps: list[str]) -> int:
        vocabulary = self.roles[role]
        [head], [tail] = vocabulary.prompts([user]), self._begun(role, [steps])
        return len(head) + len(tail)

    def _begun(self, role: str, steps: list[list[str]]) -> list[Ids]:
        return prefixes(self.roles[role], self.format if role == "prm" else None, steps)
