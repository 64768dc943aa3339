"""Which rows of a problem set make a prompt that leaves no room to write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from schemas.config import Config
from tasks.decoding.trajectory import Limits
from tasks.formats.format import Format
from tasks.prefixes import prefixes, separated
from tasks.vocabulary import ModelVocabulary, user_message


class TooLong:
    """Which rows make a prompt that leaves no room to write."""

    def __init__(
        self, config: Config, roles: Mapping[str, ModelVocabulary], limits: Limits, prm_format: Format | None
    ) -> None:
        """`roles`: the vocabulary of each."""
        self.config, self.roles, self.format = config, roles, prm_format
        self.longest = {role: limits.windows[role] - 1 - (limits.tag_tokens if role == "prm" else 0) for role in roles}

    @cached_property
    def key(self) -> str:
        """Changes with whatever decides the answers, and with the input that is asked about."""
        roles = {role: [vocabulary.prompts_key, self.longest[role]] for role, vocabulary in self.roles.items()}
        parts = [self.config.input.model_dump(), self.config.prompt.model_dump(exclude={"date"}), roles]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def __call__(self, rows: list[dict[str, Any]]) -> list[bool]:
        users = [user_message(self.config.prompt, row["problem"], row["choices"]) for row in rows]
        verdicts = [False] * len(rows)
        for role, vocabulary in self.roles.items():
            open_ones = [i for i, verdict in enumerate(verdicts) if not verdict]
            longer = vocabulary.longer_than([users[i] for i in open_ones], self.longest[role])
            for i, long in zip(open_ones, longer, strict=True):
                verdicts[i] = long
            begun = [i for i in open_ones if not verdicts[i] and rows[i]["prefix"]]
            if begun:
                steps = [separated(rows[i]["prefix"], self.config.prompt.separator) for i in begun]
                heads = vocabulary.prompts([users[i] for i in begun])
                tails = prefixes(vocabulary, self.format if role == "prm" else None, steps)
                for i, head, tail in zip(begun, heads, tails, strict=True):
                    verdicts[i] = len(head) + len(tail) > self.longest[role]
        return verdicts
