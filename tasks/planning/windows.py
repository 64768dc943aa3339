"""The context that each role's engine is started for: all positions of its model, or fewer if no prompt and solution of
the run is so long.

An engine with a cache for all of a model's positions (often 131,072) would not start on cards that are large enough for
the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from schemas.config import Config
from schemas.methods import Role
from tasks.engines.concurrency import PROMPT
from tasks.errors import UserError
from tasks.models.checkpoint import Checkpoint
from tasks.models.formats.format import Format
from tasks.models.tokenizer import ModelVocabulary
from tasks.problems.survey import Longest

Looked = Mapping[Role, tuple[Checkpoint, ModelVocabulary]]
READ_OTHERWISE = 8
"""Tokens that a token of another vocabulary becomes, at most on the average of a solution: texts have fewer bytes."""
READ_AGAIN = 2
"""The same where the PRM makes new tokens of the text in the writers' own vocabulary."""
SPARE = 64
"""Tokens that engines may need beyond the end, such as for guesses."""
ROUND = 128
BY_LENGTH = ("longrope", "su", "dynamic")
"""Kinds of rotary embeddings whose angles depend on how long a context an engine is started for."""


def most(role: Role, config: Config, checkpoint: Checkpoint) -> int:
    """What the configuration says, or all positions. Raises UserError."""
    engine = config.model(role).engine
    asked = engine.arguments.get("max_model_len", checkpoint.positions)
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 8:
        raise UserError(f"models.{role}.engine.max_model_len: {asked!r} is not a number of tokens")
    if engine.record.placed and asked > checkpoint.positions:
        raise UserError(
            f"models.{role}.engine.max_model_len: {asked:,} is more than the {checkpoint.positions:,} positions of "
            f"{checkpoint.name}"
        )
    return asked


def windows(config: Config, looked: Looked, prm_format: Format | None, longest: Longest | None) -> dict[Role, int]:
    """Role to tokens. An engine that serves two roles has the longer window. `longest`: None where nothing is known of
    the prompts."""
    found = {role: most(role, config, checkpoint) for role, (checkpoint, _) in looked.items()}
    if longest is None:
        return found
    needed = {role: _needed(role, config, looked, prm_format, longest) for role in looked}
    of_engine: dict[Role, int] = {}
    for role in looked:
        host = config.host(role)
        of_engine[host] = max(of_engine.get(host, 0), needed[role])
    return {
        role: full if _fixed(role, config, looked[role][0]) else min(full, of_engine[config.host(role)])
        for role, full in found.items()
    }


def _fixed(role: Role, config: Config, checkpoint: Checkpoint) -> bool:
    """Is it said, or would another window change what the model computes?"""
    scaling = json.dumps([checkpoint.config.get(name) for name in ("rope_scaling", "rope_parameters")])
    return "max_model_len" in config.model(role).engine.arguments or any(f'"{kind}"' in scaling for kind in BY_LENGTH)


def _needed(role: Role, config: Config, looked: Looked, prm_format: Format | None, longest: Longest) -> int:
    """Tokens of the longest prompt and solution, at least."""
    vocabulary = looked[role][1]
    decoding = config.decoding
    prompt = vocabulary.frame_tokens + max(vocabulary.copies, 1) * longest.bytes
    writers = [of.key for other, (_, of) in looked.items() if other != "prm"]
    alike = bool(writers) and all(key == vocabulary.key for key in writers)
    growth = (READ_AGAIN if role == "prm" else 1) if alike else READ_OTHERWISE
    tokens = max(prompt, PROMPT) + growth * decoding.max_tokens  # what a cache is planned for, at least
    tokens += longest.steps  # each is tokenized by itself, and may begin with a blank that the text does not have
    if role == "prm" and prm_format is not None:
        tail = len(prm_format.tail)
        steps = longest.steps + min(decoding.max_steps, decoding.max_tokens)
        tokens += (prm_format.tag_tokens - tail) * steps + prm_format.tag_tokens + tail
    return -(-(tokens + SPARE) // ROUND) * ROUND
