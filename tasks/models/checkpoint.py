"""What a checkpoint's files say about a model, without loading its weights."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.config import ModelConfig
from tasks.errors import UserError, in_brief
from tasks.models.checkpoint_files import check_config, check_here, read_json, tensors_of
from tasks.models.model_files import Parts, parts_of
from tasks.models.tensors import Weights, by_size, cache_per_token, packed_bits

HUB_ANSWERS = 5.0
"""Seconds in which the hub has answered, be it that it does not have the model."""
TOO_MANY = 429
"""What it answers to those who ask too often."""
ASKED: dict[str, str | None] = {}
"""Address of a hub to why it cannot be asked."""
MOST_HEADS = 6
"""Tensors that a message names."""
PICKLED = "pytorch_model"
"""Begins the names of weights that are not safetensors."""
NO_WRITERS = ("RewardModel", "SequenceClassification", "PrmModel")
"""Parts of the names of architectures that do not generate."""


@dataclass(frozen=True)
class Checkpoint:
    """A model's shape."""

    name: str
    architectures: list[str]
    config: dict[str, Any] = field(repr=False)
    parameters: int
    """Tied ones once."""
    active: int
    """Parameters that a token is computed with: fewer where it goes to some of many experts."""
    weights: Weights = field(repr=False)
    """What its weight files hold; nothing where they are not here."""
    positions: int
    """Longest context in tokens."""
    parts: Parts = field(default_factory=dict, repr=False)
    """What it is, by its files."""
    beside: Checkpoint | None = field(default=None, repr=False)
    """A model that the same engine loads, whose weights are counted here."""

    def with_another(self, other: Checkpoint) -> Checkpoint:
        """What an engine holds that loads both."""
        return replace(self, beside=other)

    def weight_bytes(self, arguments: Mapping[str, Any]) -> int:
        """Bytes of weights that an engine with these arguments loads."""
        of = arguments.get("quantization")
        own = self.weights.loaded(str(arguments.get("dtype", "auto")), of if isinstance(of, str) else None)
        return own + (self.beside.weight_bytes({}) if self.beside else 0)

    @property
    def heads(self) -> list[str]:
        """Names of the tensors outside the backbone."""
        return self.weights.heads

    @property
    def found(self) -> str:
        """What it is, for messages: its architecture, and what it has beside the backbone."""
        names = ", ".join(self.heads[:MOST_HEADS]) + (", ..." if len(self.heads) > MOST_HEADS else "")
        return (", ".join(self.architectures) or "no architecture") + (f" with {names}" if names else "")

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of key-value cache of a token in the cache's usual 16 bits, of all models that the engine loads."""
        return cache_per_token(self.config) + (self.beside.kv_bytes_per_token if self.beside else 0)


def inspect(role: str, model: ModelConfig) -> Checkpoint:
    """Read a local checkpoint's, or a hub model's, configuration and the sizes of its weights."""
    where = f"models.{role}.model: {model.model}"
    served = model.engine.record.remote  # its weights may be elsewhere
    local = os.path.expanduser(model.model)
    if os.path.isdir(local):
        config = _json(os.path.join(local, "config.json"), where)
        weights = Weights()
        try:
            weights = _local_weights(local, role, where, config, need=model.params is None)
        except UserError:
            if not served:
                raise
    elif os.path.exists(local) or model.model.startswith((".", "/", "~")) or model.model.count("/") != 1:
        raise UserError(f"{where}: no such directory (nor is it a hub id, which reads owner/name)")
    else:
        config, weights = _hub(model.model, role, where, need=model.params is None and not served)
    try:
        check_config(config)
    except ValueError as error:
        raise UserError(f"{where}: its config.json cannot be used ({error})") from error
    text = config.get("text_config") or config
    parameters, active = weights.parameters, weights.active(text)
    if served and not parameters and model.params is None:
        parameters = active = _count(role, local, where)
    positions = text.get("max_position_embeddings") or text.get("n_positions")
    if not isinstance(positions, int):
        positions = model.engine.arguments.get("max_model_len")
    if not isinstance(positions, int):
        raise UserError(f"{where}: config.json names no max_position_embeddings; set engine.max_model_len")
    if role != "prm" and any(word in name for name in config.get("architectures") or [] for word in NO_WRITERS):
        raise UserError(
            f"{where}: is {config['architectures'][0]}, which scores text and cannot write the {role}'s steps"
        )
    architectures = config.get("architectures") or []
    return Checkpoint(model.model, architectures, text, parameters, active, weights, positions, parts_of(model))


def _json(path: str, where: str) -> dict[str, Any]:
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{where}: the directory holds no {os.path.basename(path)}; is it a checkpoint?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {os.path.basename(path)} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: {os.path.basename(path)} is not a JSON object")
    return found


def _local_weights(folder: str, role: str, where: str, config: Mapping[str, Any], *, need: bool) -> Weights:
    """The weights in a folder, as vLLM would load them: safetensors, read by their headers, or else pickled ones."""
    there = os.listdir(folder)
    files = sorted(f for f in there if f.endswith(".safetensors"))
    if any(not f.startswith("consolidated") for f in files):  # Mistral's own copy of the same weights
        files = [f for f in files if not f.startswith("consolidated")]
    files = _indexed(folder, "model.safetensors.index.json", where, files) or files
    if not files and (pickled := _indexed(folder, f"{PICKLED}.bin.index.json", where, there) or _pickled(there)):
        try:
            for name in pickled:
                check_here(os.path.join(folder, name))
            return by_size(sum(os.path.getsize(os.path.join(folder, f)) for f in pickled), config)
        except (OSError, ValueError) as error:
            raise UserError(f"{where}: {name} cannot be read ({error})") from error
    if not files and need:
        raise UserError(f"{where}: no weights are here to count parameters in; set models.{role}.params")
    found = Weights()
    for name in files:
        try:
            found.take(tensors_of(os.path.join(folder, name))[1], packed_bits(config))
        except (OSError, ValueError) as error:
            raise UserError(f"{where}: {name} is not a whole safetensors file ({error})") from error
    return found


def _indexed(folder: str, index: str, where: str, there: list[str]) -> list[str]:
    """The files that an index names, where there is one. Raises UserError where one of them is not there."""
    if not os.path.exists(os.path.join(folder, index)):
        return []
    named = _json(os.path.join(folder, index), where).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{where}: {index} names no files")
    files = sorted(set(map(str, named.values())))
    if missing := sorted(set(files) - set(there)):
        raise UserError(f"{where}: {missing[0]} is missing, which {index} names")
    return files


def _pickled(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(PICKLED) and name.endswith(".bin")]


def _count(role: str, model: str, where: str) -> int:
    """Parameters that a model of this configuration has, its weights not being here."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM  # imports torch: seconds

    try:
        config = AutoConfig.from_pretrained(model)
        with torch.device("meta"):  # shapes without memory
            # of a PRM the backbone, beside which its head is small
            made = (AutoModel if role == "prm" else AutoModelForCausalLM).from_config(config)
        return made.num_parameters()
    except Exception as error:
        raise UserError(
            f"{where}: no weights here to count parameters in, and none can be told from its config.json; set "
            f"models.{role}.params"
        ) from error


def unreachable(model: str) -> str | None:
    """Why the hub cannot be asked; None where it answers. Asked once, for the first model, with little patience: its
    own client tries each file several times, for minutes where it is told to wait."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    hub = constants.ENDPOINT
    if hub not in ASKED:
        ASKED[hub] = _unreachable(hub, model)
    return ASKED[hub]


def _unreachable(hub: str, model: str) -> str | None:
    from huggingface_hub.utils import get_session

    told: list[str | None] = []

    def ask() -> None:
        try:
            answer = get_session().head(f"{hub}/{model}/resolve/main/config.json", timeout=HUB_ANSWERS)
        except Exception as error:
            told.append(f"{hub or 'an empty HF_ENDPOINT'} cannot be reached: {_reason(error)}")
        else:  # of a model that it does not have, it says so: it is there
            away = answer.status_code == TOO_MANY or answer.status_code >= 500
            told.append(f"{hub} answers {answer.status_code} {answer.reason_phrase}".rstrip() if away else None)

    # a thread, for an answer that drips is never late by the client's own clock
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_ANSWERS)
    return told[0] if told else f"{hub} cannot be reached: no answer within {HUB_ANSWERS:.0f} s"


def _reason(error: BaseException) -> str:
    """What is wrong, in one line: the fault itself where the hub's client says only that it found nothing."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return in_brief(error, 300)


def _hub(name: str, role: str, where: str, *, need: bool) -> tuple[dict[str, Any], Weights]:
    """The same of a model on the hub, or in its local cache."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # the error below says it all

    try:
        with contextlib.suppress(LocalEntryNotFoundError):
            cached = snapshot_download(name, local_files_only=True)
            if any(file.endswith(".safetensors") for file in os.listdir(cached)):
                config = _json(os.path.join(cached, "config.json"), where)
                return config, _local_weights(cached, role, where, config, need=True)
        away = unreachable(name)
        try:
            config = _json(hf_hub_download(name, "config.json", local_files_only=away is not None), where)
        except LocalEntryNotFoundError:
            if away is None:
                raise
            config = {}
        if away is not None and (need or not config):
            raise UserError(
                f"{where}: neither a directory here nor in the hub's cache, and the hub cannot be asked ({away})"
            )
        try:
            if away is not None:
                return config, Weights()
            weights = _hub_weights(name, config)
        except Exception:
            if need:
                raise
            weights = Weights()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{where}: neither a directory here nor a model the hub gives out ({_reason(error)})"
        ) from error
    return config, weights


def _hub_weights(name: str, config: Mapping[str, Any]) -> Weights:
    """Those of a model on the hub: what the headers say, or the sizes of pickled files. Raises what the hub does."""
    from huggingface_hub import HfApi, get_safetensors_metadata
    from huggingface_hub.errors import NotASafetensorsRepoError

    try:
        told = get_safetensors_metadata(name)
    except NotASafetensorsRepoError:
        sizes = {
            file.rfilename: file.size or 0 for file in HfApi().model_info(name, files_metadata=True).siblings or []
        }
        return by_size(sum(sizes[file] for file in _pickled(sizes)), config)
    weights = Weights()
    for of_file in told.files_metadata.values():
        tensors = of_file.tensors.items()
        weights.take(
            {key: {"dtype": t.dtype, "shape": t.shape, "data_offsets": t.data_offsets} for key, t in tensors},
            packed_bits(config),
        )
    return weights
