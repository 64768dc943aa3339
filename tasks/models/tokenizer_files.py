"""A checkpoint's tokenizer, loaded from its files without code of its own unless that is trusted."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from schemas.config import ModelConfig
from tasks.errors import UserError, in_brief
from tasks.models.checkpoint import unreachable
from tasks.models.checkpoint_files import check_words
from tasks.models.model_files import commit_of, folder_of

ANCHOR = "a"
"""A text that is one token, or a few."""
SWELLS = 256
"""Times as many characters that a tokenizer may make of a text before it reads it."""


def load_tokenizer(role: str, model: ModelConfig) -> Any:
    """The tokenizer of transformers. Raises UserError where there is none that loads, or it needs untrusted code."""
    from transformers import AutoTokenizer  # imports torch: seconds

    # a hub that is away is not asked for each file again
    here = not os.path.isdir(model.model) and unreachable(model.model) is not None
    try:
        if not model.trust_remote_code and _brings_code(model.model, here):
            raise _untrusted(role, model.model)
        if (folder := folder_of(model.model)) is not None:
            check_words(folder)
        return AutoTokenizer.from_pretrained(
            model.model,
            revision=commit_of(model.model),
            trust_remote_code=model.trust_remote_code,
            clean_up_tokenization_spaces=False,
            local_files_only=here,
            mistral_format=False,  # a tekken.json would bring another library's, of another behaviour
        )
    except UserError:
        raise
    except Exception as error:
        if not model.trust_remote_code and "trust_remote_code" in str(error):
            raise _untrusted(role, model.model) from error
        raise UserError(
            f"models.{role}.model: {model.model} has no tokenizer that loads ({in_brief(error)})"
        ) from error


def backend_of(tokenizer: Any) -> Any:
    """The tokenizers library's own object behind a tokenizer, where the class adds nothing to it: asked directly it
    takes a third of the time. None otherwise."""
    from transformers import PreTrainedTokenizerFast

    own = ("__call__", "_encode_plus", "_convert_encoding", "batch_decode", "decode", "_decode")
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or tokenizer.clean_up_tokenization_spaces:
        return None
    if any(getattr(type(tokenizer), name) is not getattr(PreTrainedTokenizerFast, name) for name in own):
        return None
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend


def swells(backend: Any) -> bool:
    """Do a tokenizer's rules replace characters by so long texts, one after the other, that a line fills memory?"""
    if backend is None:
        return False
    rules = [rule.__getstate__() for rule in (backend.normalizer, backend.pre_tokenizer, backend.decoder) if rule]
    longest = 1
    for text in re.findall(rb'"(?:content|prepend|replacement)"\s*:\s*("(?:[^"\\]|\\.)*")', b" ".join(rules)):
        longest *= max(1, len(json.loads(text)))
        if longest > SWELLS:
            return True
    return False


def _brings_code(model: str, here: bool) -> bool:
    """Has a checkpoint a tokenizer of a class of its own? Without its code transformers would quietly take another."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config, tokenizer_class_from_name

    config = get_tokenizer_config(model, revision=commit_of(model), local_files_only=here)
    code, name = config.get("auto_map"), str(config.get("tokenizer_class"))
    if isinstance(code, dict):
        code = code.get("AutoTokenizer")
    return bool(code) and not any(tokenizer_class_from_name(known) for known in (name, name + "Fast"))


def _untrusted(role: str, model: str) -> UserError:
    return UserError(
        f"models.{role}.model: {model} comes with code of its own for its tokenizer, which is not run; where you trust "
        f"it, set models.{role}.trust_remote_code: true"
    )


def start_of_text(tokenizer: Any) -> str:
    """The special token that a tokenizer puts before a text, where it does so by itself."""
    adds = tokenizer.bos_token and tokenizer(ANCHOR)["input_ids"][:1] == [tokenizer.bos_token_id]
    return tokenizer.bos_token if adds else ""
