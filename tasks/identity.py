"""What makes two runs the same: everything that decides what is written, nothing about where or how fast."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from schemas.config import READ_BY, SETTINGS_OF_FORMATS, Config, Role
from tasks.errors import UserError

OF_PRM = "models.prm."
"""Begins the keys of what decides a PRM's rewards."""
PLACEMENT = {
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "device_ids",
    "distributed_executor_backend",
    "replicas",
    "endpoints",
    "model",
    "concurrency",
    "api_key_env",
    "timeout",
    "patience",
    "download_dir",
    "seconds",
    "swap_seconds",
    "refuse",
    "crash",
    "stall",
}
"""Engine arguments about memory, devices, servers and speed, and the faults that a scripted engine plays."""


def identity(config: Config) -> dict[str, Any]:
    """Dotted key to value, for the part of a configuration that decides what is written."""
    values = config.model_dump(mode="json")
    del values["output"], values["storage"], values["input"]["path"], values["drift"]
    if values["input"]["prefix"] is None:
        del values["input"]["prefix"]  # as runs have it that know no such field
    if values["input"]["answers"] in (None, "text"):
        del values["input"]["answers"]  # likewise, and what is not given means text wherever it is not asked for
    values["run"] = {key: values["run"][key] for key in ("shard_size", "batch_invariant")}
    proposer: tuple[Role, ...] = ("draft",) if config.proposer else ()
    models: tuple[Role, ...] = (*config.roles, *proposer)
    values["models"] = {role: config.model(role).model_dump(mode="json") for role in models}
    for setting, methods in READ_BY.items():
        if config.decoding.method not in methods:
            del values["decoding"][setting]
    if values["decoding"].get("accept", {}).get("target_share", 0) is None:
        del values["decoding"]["accept"]["target_share"]  # as runs have it that know no such field
    if config.decoding.proposals == 1:
        values["decoding"].pop("candidates", None)  # as before there could be several
    if proposer:
        del values["models"]["draft"]["engine"]  # it has none
    if config.confidence:
        values["models"]["prm"] = {"format": "confidence", "over": config.confidence}
    for role in config.roles:
        _forget_place(values["models"][role])
    return _flatten(values)


def prm_identity(config: Config) -> dict[str, Any]:
    """Dotted key to value: what decides the rewards of a configuration's PRM, whether its method asks it or not.
    UserError where it is the same model as one that is missing."""
    prm = config.models.prm
    if prm is not None and prm.same_as is not None and getattr(config.models, prm.same_as) is None:
        raise UserError(f"models.prm.same_as: there is no models.{prm.same_as}")
    values = config.model("prm").model_dump(mode="json")
    _forget_place(values)
    return _flatten(values, OF_PRM)


def _forget_place(model: dict[str, Any]) -> None:
    """Take away what says where and how fast a model is served, and what an older release did not know."""
    model.pop("same_as", None)  # which is where a PRM is served
    for setting in [name for name in SETTINGS_OF_FORMATS if model.get(name, "") is None]:
        del model[setting]  # as before there were several formats
    if "engine" in model:
        model["engine"] = {key: value for key, value in model["engine"].items() if key not in PLACEMENT}
        if model["engine"]["kind"] == "openai":
            model["engine"]["kind"] = "vllm"  # the same model, elsewhere


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def fingerprint(config: Config) -> str:
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()


def run_id(config_fingerprint: str, input_fingerprint: str) -> str:
    """The same for the same configuration on the same input, wherever it is run."""
    return hashlib.sha256(f"{config_fingerprint}:{input_fingerprint}".encode()).hexdigest()[:12]


def differences(there: Config, here: Config) -> list[str]:
    """What two configurations disagree on, as 'key: that there, this here'."""
    a, b = identity(there), identity(here)
    keys = [key for key in (*a, *(k for k in b if k not in a)) if a.get(key) != b.get(key)]
    keys.sort(key=lambda key: key.startswith("models."))  # another method brings other models: name the method first
    return [f"{key}: {_short(a.get(key))} there, {_short(b.get(key))} here" for key in keys]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
