"""What a model is: the files of its checkpoint that decide what it writes, each with a digest. No weights are loaded.

Of weights the tensors' names, types and shapes count, and bytes of each: all of them where the checkpoint has at most
WHOLE bytes, else at most MOST pieces of PIECE bytes, at places that follow from the tensors' names. Training moves
tensors everywhere, so that pieces tell; they do not tell a checkpoint in which somebody changed a few numbers by hand.
How tensors are shared out among files does not count, nor where a checkpoint lies, nor what is written in a JSON file
of who saved it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from typing import Any

from schemas.config import ModelConfig
from tasks.errors import UserError

WHOLE = 32 << 20
"""Bytes up to which weights are read whole."""
MOST = 1024
"""Pieces that are read of larger ones."""
PIECE = 16 << 10
"""Bytes of a piece."""
AT_ONCE = 32
"""Reads at the same time: a network's file system takes milliseconds for each."""
LONGEST_HEADER = 200_000_000
"""Bytes."""

WEIGHTS, COMMIT, PATH, TEMPLATE = "weights", "commit", "path", "chat template"
PROMPT, DATE, SERVED = "prompt", "date", "served"
"""What others tell of a model: what a prompt of its reads like, the day that stands in it, its name at servers."""
ALWAYS = ("config.json", "generation_config.json", "tokenizer_config.json")
"""Told also where they are not there; other files only few checkpoints have."""
SETTINGS = (*ALWAYS[:2], "hf_quant_config.json", "quantize_config.json", "quant_config.json")
WORDS = ("tokenizer.json",)
"""Says all of a tokenizer's vocabulary; where it is not there, one of OTHER_WORDS does."""
OTHER_WORDS = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt", "tekken.json")
ABOUT_WORDS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SAVED_BY = ("transformers_version", "_name_or_path", "_from_model_config", "name_or_path")
"""Keys that say who saved a file, and where."""
NOT_TOKENIZERS = ("chat_template", "model_max_length")
"""Keys of tokenizer_config.json that have a part of their own, or are not heeded."""
OLD_WEIGHTS = (".bin", ".pt", ".pth")
NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state).*")

Parts = dict[str, str | None]
"""Name of a file, or what else is compared, to its digest; None where there is no such file. What is not known, such as
weights that are not here, is left out."""


def parts_of(model: ModelConfig) -> Parts:
    """What is known here of a model, without a network. `path` is told, and is no part of what the model is."""
    folder = folder_of(model.model)
    told: Parts = {PATH: model.model}
    if model.engine.kind == "openai" and isinstance(name := model.engine.arguments.get("model"), str):
        told[SERVED] = name
    if folder is None:
        return told
    found = told | parts(folder, code=model.trust_remote_code)
    if (commit := commit_of(model.model)) is not None:
        found[COMMIT] = commit
        # what the hub's cache lacks may not have been asked for yet
        found = {name: digest for name, digest in found.items() if digest is not None}
    return found


class Replaced(UserError):
    """A checkpoint is not any more what it was when the run was planned."""


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


def commit_of(model: str) -> str | None:
    """The commit of a hub id that this machine has, so that tokenizer and weights are of one; None for a directory."""
    folder = folder_of(model)
    return None if folder is None or folder == os.path.expanduser(model) else os.path.basename(folder)


def parts(folder: str, *, code: bool = False) -> Parts:
    """What the checkpoint in a folder is. `code`: is code that comes with it run? Files that cannot be read count as
    not known: whoever needs them says what is wrong."""
    found: Parts = {}
    words = WORDS if os.path.exists(os.path.join(folder, WORDS[0])) else OTHER_WORDS
    about = {}
    for name in (*SETTINGS, *words, *ABOUT_WORDS):
        content = _read(os.path.join(folder, name))
        if content is None and name not in ALWAYS:
            continue
        about[name] = content
        found[name] = None if content is None else _digest(_plain(name, content))
    template = chat_template(folder, about.get(ABOUT_WORDS[0]))
    found[TEMPLATE] = None if template is None else digest_of(template)
    if code:
        names = sorted(name for name in _names(folder) if name.endswith(".py"))
        found |= {name: _digest(_read(os.path.join(folder, name)) or b"") for name in names}
    weights = _weights(folder)
    return found if weights is None else found | {WEIGHTS: weights}


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
    return _digest(text.encode("utf-8", "surrogatepass"))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return None


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _plain(name: str, content: bytes) -> bytes:
    """A settings file by what it says; others by their bytes."""
    value = _object(content) if name in (*SETTINGS, *ABOUT_WORDS) else {}
    if not value:
        return content
    dropped = (*SAVED_BY, *(NOT_TOKENIZERS if name in ABOUT_WORDS else ()))
    return json.dumps({key: of for key, of in value.items() if key not in dropped}, sort_keys=True).encode()


def _digest(*contents: bytes) -> str:
    whole = hashlib.sha256()
    for content in contents:
        whole.update(len(content).to_bytes(8, "little") + content)
    return whole.hexdigest()[:16]


# --- weights


@dataclass(frozen=True)
class Stretch:
    """Bytes of one tensor, or of a file whose tensors are not known."""

    name: str
    """With type and shape."""
    path: str
    start: int
    size: int

    def pieces(self, most: int | None) -> list[tuple[int, int]]:
        """Start and length of what is read of it: all (None), or so many pieces, each somewhere in its own part."""
        if most is None or self.size <= most * PIECE:
            return [(self.start, self.size)] if self.size else []
        part = self.size // most
        found = []
        for number in range(most):
            drawn = int.from_bytes(hashlib.sha256(f"{number}:{self.name}".encode()).digest()[:8], "little")
            found.append((self.start + number * part + drawn % (part - PIECE + 1), PIECE))
        return found


def weight_files(folder: str) -> list[str]:
    """Names of the files that an engine loads the weights from."""
    names = _names(folder)
    tensors = sorted(name for name in names if name.endswith(".safetensors"))
    if tensors:
        index = _object(_read(os.path.join(folder, "model.safetensors.index.json")) or b"").get("weight_map")
        named = sorted(set(map(str, index.values()))) if isinstance(index, dict) else []
        return named or tensors
    return sorted(name for name in names if name.endswith(OLD_WEIGHTS) and not NO_WEIGHTS.match(name))


def _weights(folder: str) -> str | None:
    """Digest of a checkpoint's weights; None where they are not here, or cannot be read."""
    files = weight_files(folder)
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            of_files = list(pool.map(lambda name: _stretches(os.path.join(folder, name)), files))
            stretches = sorted((one for some in of_files for one in some), key=lambda one: one.name)
            if not stretches:
                return None
            wanted = _pieces(stretches)
            contents = list(pool.map(lambda of: _sampled(*of), wanted))
    except (OSError, ValueError, LookupError, TypeError, struct.error):
        return None
    return _digest(*(one.name.encode("utf-8", "surrogatepass") for one in stretches), *contents)


def _pieces(stretches: list[Stretch]) -> list[tuple[str, list[tuple[int, int]]]]:
    """What is read of which file, in the order of the tensors' names."""
    if sum(one.size for one in stretches) <= WHOLE:
        return [(one.path, one.pieces(None)) for one in stretches]
    if len(stretches) > MOST:
        stretches = _drawn(stretches)
    most = max(1, MOST // len(stretches))
    return [(one.path, one.pieces(most)) for one in stretches]


def _drawn(stretches: list[Stretch]) -> list[Stretch]:
    """MOST of the tensors, where experts come by the ten thousand: of each kind as many, drawn by their names."""
    kinds: dict[str, list[Stretch]] = {}
    for one in sorted(stretches, key=lambda one: hashlib.sha256(one.name.encode("utf-8", "surrogatepass")).digest()):
        kinds.setdefault(re.sub(r"\d+", "", one.name.partition(" ")[0]), []).append(one)
    in_turn = (one for row in zip_longest(*kinds.values()) for one in row if one is not None)
    return sorted(islice(in_turn, MOST), key=lambda one: one.name)


def _sampled(path: str, pieces: Iterable[tuple[int, int]]) -> bytes:
    with open(path, "rb", buffering=0) as f:
        read = partial(os.pread, f.fileno())
        return b"".join(read(size, start) for start, size in pieces)


def _stretches(path: str) -> list[Stretch]:
    """The tensors of a safetensors file, from its header; of another the file as a whole."""
    size = os.path.getsize(path)
    if not path.endswith(".safetensors"):
        return [Stretch(f"{os.path.basename(path)} of {size} bytes", path, 0, size)]
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        if length > LONGEST_HEADER:
            raise ValueError("header too long")
        header = json.loads(f.read(length))
    found = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        start, end = tensor["data_offsets"]
        shape = "x".join(map(str, tensor["shape"]))
        found.append(Stretch(f"{name} {tensor['dtype']} {shape}", path, 8 + length + start, end - start))
    return found
