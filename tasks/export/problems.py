"""The problems of a shard: which split they are in, how they are asked, whether they are wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas.config import PromptConfig
from schemas.export import Kind
from tasks.errors import UserError, in_brief
from tasks.export.runs import SourceShard
from tasks.models.chat import Chat
from tasks.models.tokenizer_files import start_of_text
from tasks.problems.metadata import choices_of, whole_level_of
from tasks.problems.prompt import user_message

PLACEHOLDER = "stepwave-problem-goes-here"
PLAIN = PromptConfig(user="{problem}")


def problems(shard: SourceShard, frame: str, levels: list[str] | None) -> pl.DataFrame:
    """One row per problem: problem_id, problem, question (with the choices), key (UInt64), user (the message), prompt
    (text), and `level_fits`.

    `frame`: the prompt as text, with PLACEHOLDER where the user message goes.
    """
    found = shard.solutions.select("problem_id", "problem", "metadata").unique("problem_id", maintain_order=True)
    texts, metadata = found["problem"].to_list(), found["metadata"].to_list()
    asking = shard.run.config.prompt
    choices = [choices_of(about) for about in metadata]
    users = [user_message(asking, text, some) for text, some in zip(texts, choices, strict=True)]
    questions = [user_message(PLAIN, text, some) for text, some in zip(texts, choices, strict=True)]
    around = frame.split(PLACEHOLDER)
    fits = [levels is None or whole_level_of(about) in levels for about in metadata]
    return found.select(
        "problem_id",
        "problem",
        pl.Series("question", questions, pl.String),
        pl.Series("key", keys(pl.Series(questions, dtype=pl.String)), pl.UInt64),
        pl.Series("user", users, pl.String),
        pl.Series("prompt", [user.join(around) for user in users], pl.String),
        pl.Series("level_fits", fits, pl.Boolean),
    )


def keys_of(problems: list[str], choices: Sequence[Sequence[str] | None]) -> pl.Series:
    """The key (UInt64) of each problem with its choices; equal ones are looked at once."""
    asked = [(text, None if some is None else tuple(some)) for text, some in zip(problems, choices, strict=True)]
    unlike = list(dict.fromkeys(asked))
    texts = [user_message(PLAIN, text, None if some is None else list(some)) for text, some in unlike]
    found = dict(zip(unlike, keys(pl.Series(texts, dtype=pl.String)), strict=True))
    return pl.Series("key", [found[one] for one in asked], pl.UInt64)


def keys(texts: pl.Series) -> list[int]:
    """64 bits of each problem's text, its choices included, the same wherever it is read. Case and white space make no
    difference, so that a problem that stands under two ids is still one."""
    plain = texts.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    digest = hashlib.blake2b
    return [int.from_bytes(digest(text.encode(), digest_size=8).digest()) for text in plain.to_list()]


def text_frame(prompt: PromptConfig, template: str | None, kind: Kind) -> str:
    """A prompt as text, up to where the answer starts, with PLACEHOLDER for the user message.

    `template`: checkpoint whose chat template makes it; raises UserError if that cannot be had. A start-of-text token
    that TRL's trainers put before texts by themselves is left to them: PRMTrainer wherever the tokenizer has one, the
    others as the tokenizer does it.
    """
    if template is None:
        if prompt.template is None:
            return PLACEHOLDER + "\n\n"
        return prompt.template.replace("{system}", prompt.system or "").replace("{user}", PLACEHOLDER)
    from transformers import AutoTokenizer  # seconds, and torch

    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    chat = [*system, {"role": "user", "content": PLACEHOLDER}]
    try:
        tokenizer = AutoTokenizer.from_pretrained(template)
        [frame] = Chat(tokenizer, prompt.date).render([chat], answer=True)
        again = tokenizer.bos_token if kind == "prm" else start_of_text(tokenizer)
    except Exception as error:
        raise UserError(
            f"--template: {template} has no chat template that takes the prompt ({in_brief(error)})"
        ) from error
    if PLACEHOLDER not in frame:
        raise UserError(f"--template: the chat template of {template} leaves the problem out")
    return frame.removeprefix(again or "")


@dataclass(frozen=True)
class Splits:
    """Which split a problem is in: by its key, so that it is the same one in every dataset with these shares."""

    shares: dict[str, float]
    """Of those beside train, in order."""

    @classmethod
    def read(cls, text: str) -> Splits:
        """Of name=share,name=share, or none. Raises UserError for anything else."""
        shares: dict[str, float] = {}
        for part in text.split(",") if text.strip() != "none" else []:
            name, _, share = (piece.strip() for piece in part.partition("="))
            try:
                value = float(share)
            except ValueError:
                value = -1.0
            if not name.isidentifier() or not name.isascii() or name == "train" or name in shares or not 0 < value < 1:
                raise UserError(
                    f"--splits: {text!r} must read name=share, such as test=0.05, or none; train gets the rest"
                )
            shares[name] = value
        if sum(shares.values()) >= 1:
            raise UserError(f"--splits: {text!r} leaves nothing for train")
        return cls(shares)

    @property
    def names(self) -> list[str]:
        """Names of the splits, train first."""
        return ["train", *self.shares]

    def of(self, key: str = "key") -> pl.Expr:
        """The split of each row."""
        place = pl.col(key).cast(pl.Float64) / 2.0**64
        found, end = pl.lit("train"), sum(self.shares.values())
        for name, share in reversed(self.shares.items()):
            found = pl.when(place < end).then(pl.lit(name)).otherwise(found)
            end -= share
        return found
