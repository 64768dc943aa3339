"""What a model is: the files of its checkpoint that decide what it writes, each with a digest. No weights are loaded.

Where a checkpoint lies does not count, nor what is written in a JSON file of who saved it. Of weights see weight_bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from schemas.config import ModelConfig
from tasks.errors import UserError
from tasks.models.checkpoint_files import WORDS as LONGEST
from tasks.models.checkpoint_files import parsed
from tasks.models.weight_bytes import digest, file_digest, weights

WEIGHTS, COMMIT, PATH, TEMPLATE = "weights", "commit", "path", "chat template"
PROMPT, DATE, SERVED = "prompt", "date", "served"
"""What others tell of a model: what a prompt of its reads like, the day that stands in it, its name at servers."""
ALWAYS = ("config.json", "generation_config.json", "tokenizer_config.json")
"""Told also where they are not there; other files only few checkpoints have."""
QUANTIZED = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
BY_MISTRAL = ("params.json", "tekken.json")
"""What vLLM reads in the place of config.json and tokenizer.json where weights are called consolidated."""
MODULES = "modules.json"
"""Of checkpoints in the form of sentence-transformers: where vLLM finds which token is read, and how."""
SETTINGS = (*ALWAYS[:2], *QUANTIZED, BY_MISTRAL[0], MODULES, "sentence_bert_config.json")
WORDS = ("tokenizer.json", BY_MISTRAL[1])
"""Says all of a tokenizer's vocabulary; where it is not there, one of OTHER_WORDS does."""
OTHER_WORDS = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt", BY_MISTRAL[1])
ABOUT_WORDS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
FILE = re.compile(r".*\.(json|model|txt|py|tiktoken)")
"""Parts that are files of a checkpoint."""
SAVED_BY = ("transformers_version", "_name_or_path", "_from_model_config", "name_or_path")
"""Keys that say who saved a file, and where."""
NOT_TOKENIZERS = ("chat_template", "model_max_length")
"""Keys of tokenizer_config.json that have a part of their own, or are not heeded."""

INSIDE = re.compile(r"[\w-][\w.-]*")
"""Names of folders in a checkpoint's."""

Parts = dict[str, str | None]
"""Name of a file, or what else is compared, to its digest; None where there is no such file. What is not known, such as
weights that are not here, is left out."""


def parts_of(model: ModelConfig) -> Parts:
    """What is known here of a model, without a network. `path` is told, and is no part of what the model is."""
    folder = folder_of(model.model)
    told: Parts = {PATH: model.model}
    if model.engine.record.remote and isinstance(name := model.engine.arguments.get("model"), str):
        told[SERVED] = name
    if model.engine.record.placed:
        told |= _named(model.engine.arguments)
    if folder is None:
        return told
    found = told | parts(folder, code=model.trust_remote_code)
    if (commit := commit_of(model.model)) is not None:
        found[COMMIT] = commit
        # what the hub's cache lacks may not have been asked for yet
        found = {name: digest for name, digest in found.items() if digest is not None}
    return found


class Replaced(UserError):
    """A checkpoint was changed since the run was planned."""


def check_unchanged(role: str, model: str, known: Parts, *, code: bool) -> None:
    """Raises Replaced where the files of a model are others than those that are known of it."""
    if COMMIT in known:
        return  # it is loaded by that
    now = parts_of(ModelConfig(model=model, trust_remote_code=code))
    if other := [part for part in known if part in now and part not in (PATH, TEMPLATE) and known[part] != now[part]]:
        raise Replaced(
            f"models.{role}.model: {model} was replaced since the run was planned ({', '.join(other)}); put it "
            "back, or give another output.path"
        )


def folder_of(model: str) -> str | None:
    """The directory with a checkpoint's files: itself, or the snapshot of a hub id in this machine's cache."""
    folder = os.path.expanduser(model)
    if os.path.isdir(folder):
        return folder
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        return None
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(model, local_files_only=True))
    except Exception:
        return None


def _named(arguments: Mapping[str, Any], prefix: str = "engine.") -> Parts:
    """Files and checkpoints that an engine's arguments name, such as another configuration or a second model."""
    found: Parts = {}
    for name, value in arguments.items():
        if isinstance(value, dict):
            found |= _named(value, f"{prefix}{name}.")
        elif isinstance(value, str) and os.path.isabs(path := os.path.expanduser(value)) and name != "download_dir":
            if os.path.isdir(path):
                found[prefix + name] = digest(json.dumps(parts(path), sort_keys=True).encode())
            elif os.path.isfile(path):
                found[prefix + name] = file_digest(path)
    return found


def commit_of(model: str) -> str | None:
    """The commit of a hub id that this machine has, so that tokenizer and weights are of one; None for a directory."""
    folder = folder_of(model)
    return None if folder is None or folder == os.path.expanduser(model) else os.path.basename(folder)


def parts(folder: str, *, code: bool = False) -> Parts:
    """What the checkpoint in a folder is. `code`: is code that comes with it run? Files that cannot be read count as
    not known: whoever needs them says what is wrong."""
    found: Parts = {}
    words: tuple[str, ...] = WORDS
    if not os.path.exists(os.path.join(folder, WORDS[0])):
        words = (*OTHER_WORDS, *sorted(name for name in _names(folder) if name.endswith(".tiktoken")))
    about = {}
    for name in (*SETTINGS, *words, *ABOUT_WORDS):
        content = _read(os.path.join(folder, name))
        if content is None and name not in ALWAYS:
            continue
        about[name] = content
        found[name] = None if content is None else digest(_plain(name, content))
    found |= _modules(folder, about.get(MODULES))
    template = chat_template(folder, about.get(ABOUT_WORDS[0]))
    found[TEMPLATE] = None if template is None else digest_of(template)
    if code:
        names = sorted(name for name in _names(folder) if name.endswith(".py"))
        found |= {name: digest(_read(os.path.join(folder, name)) or b"") for name in names}
    of_weights = weights(folder)
    return found if of_weights is None else found | {WEIGHTS: of_weights}


def _modules(folder: str, listed: bytes | None) -> Parts:
    """The settings of the modules that modules.json lists."""
    try:
        modules = parsed(listed or b"[]")
    except ValueError:
        return {}
    paths = [of.get("path") for of in modules if isinstance(of, dict)] if isinstance(modules, list) else []
    names = [f"{path}/config.json" for path in paths if isinstance(path, str) and INSIDE.fullmatch(path)]
    found = {name: _read(os.path.join(folder, name)) for name in names}
    return {name: digest(content) for name, content in found.items() if content is not None}


def chat_template(folder: str, tokenizer_config: bytes | None) -> str | None:
    """The text of a checkpoint's chat templates, as transformers finds them."""
    if (content := _read(os.path.join(folder, "chat_template.jinja"))) is not None:
        return content.decode("utf-8", "replace").replace("\r\n", "\n")
    for content in (_read(os.path.join(folder, "chat_template.json")), tokenizer_config):
        found = _object(content or b"").get("chat_template")
        if found:
            return found if isinstance(found, str) else json.dumps(found, sort_keys=True)
    return None


def digest_of(text: str) -> str:
    """A digest of a text."""
    return digest(text.encode("utf-8", "surrogatepass"))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as f:
            content = f.read(LONGEST + 1)
    except OSError:
        return None
    return content if len(content) <= LONGEST else None


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = parsed(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _plain(name: str, content: bytes) -> bytes:
    """A settings file by what it says; others by their bytes."""
    value = _object(content) if name in (*SETTINGS, *ABOUT_WORDS) else {}
    if not value:
        return content
    dropped = (*SAVED_BY, *(NOT_TOKENIZERS if name in ABOUT_WORDS else ()))
    return json.dumps({key: of for key, of in value.items() if key not in dropped}, sort_keys=True).encode()
