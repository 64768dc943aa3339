"""What makes two runs the same: everything that decides what is written, and nothing about where or how fast.

These are the settings, the models (`model_files`, and how their prompts read), and the input. Every file that proves
progress has all three, so that files can be compared and differences named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from schemas.config import Config
from schemas.engine_kinds import ENGINE_KINDS
from schemas.methods import Role, unread
from schemas.prm_formats import settings_of_formats
from tasks.errors import UserError
from tasks.models.model_files import ALWAYS, COMMIT, DATE, FILE, PATH, PROMPT, SERVED, TEMPLATE, WEIGHTS, Parts

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
PLACE_OF_MODEL = re.compile(r"models\.[^.]+\.model")
"""Places of models. They are kept for people, and decide nothing if more is known of the model."""
LONG = 200
"""Characters of a setting's JSON that are kept; of longer ones a digest."""

Models = Mapping[str, Parts]
"""Role to what its model is."""


@dataclass(frozen=True)
class Identity:
    """Which configuration, models and input an output belongs to."""

    config: str
    """Fingerprint of settings and models, as the run began with them."""
    input: str
    """Fingerprint of the input."""
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Of `settings`, as they are kept."""
    models: Models = field(default_factory=dict, compare=False, repr=False)
    began_as: str | None = None
    """The run_id that the run has, where it began with less known of its models, or by another release."""
    config_yaml: str | None = field(default=None, compare=False, repr=False)
    """Digest of the output's config.yaml, with which this was found to agree; None where there was none to compare."""

    @classmethod
    def of(cls, config: Config, models: Models, input_fingerprint: str, config_yaml: str | None = None) -> Identity:
        """The identity of a run of this configuration, with what its models are."""
        known = with_digests(settings(config))
        return cls(fingerprint(config, models), input_fingerprint, known, models, config_yaml=config_yaml)

    @property
    def run_id(self) -> str:
        """The same for the same configuration on the same input, wherever it is run."""
        return self.began_as or run_id(self.config, self.input)

    def as_begun(self, known: Mapping[str, Any]) -> Identity:
        """The same run as a file of it has it."""
        return replace(self, config=known["config_fingerprint"], began_as=known["run_id"])

    def written(self) -> dict[str, Any]:
        """What a file of the run says of it."""
        return {
            "run_id": self.run_id,
            "config_fingerprint": self.config,
            "input_fingerprint": self.input,
            "config_yaml": self.config_yaml,
            "identity": {"settings": self.settings, "models": self.models},
        }


def identity(config: Config) -> dict[str, Any]:
    """Dotted key to value, for the part of a configuration that decides what is written."""
    values = config.model_dump(mode="json")
    del values["output"], values["storage"], values["input"]["path"], values["drift"]
    del values["prompt"]["date"]  # it counts where a prompt has it: see `DATE`
    if values["input"]["prefix"] is None:
        del values["input"]["prefix"]  # as runs have it that know no such field
    # which problems are left out is part of what the input is found to be
    values["input"] |= {"skip_done": True} if values["input"].pop("skip_done") else {}
    if values["input"]["answers"] in (None, "text"):
        del values["input"]["answers"]  # likewise, and what is not given means text wherever it is not asked for
    values["run"] = {key: values["run"][key] for key in ("shard_size", "batch_invariant")}
    proposer: tuple[Role, ...] = ("draft",) if config.proposer else ()
    models: tuple[Role, ...] = (*config.roles, *proposer)
    values["models"] = {role: config.model(role).model_dump(mode="json") for role in models}
    for setting in unread(config.decoding.method):
        del values["decoding"][setting]
    if values["decoding"].get("accept", {}).get("target_share", 0) is None:
        del values["decoding"]["accept"]["target_share"]  # as runs have it that know no such field
    if config.decoding.proposals == 1:
        values["decoding"].pop("candidates", None)  # as before there could be several
    if proposer:
        del values["models"]["draft"]["engine"]  # it has none
    if config.confidence:
        assert config.models.prm is not None
        values["models"]["prm"] = {"format": config.models.prm.format, "over": config.confidence}
    for role in config.roles:
        _forget_place(values["models"][role])
    return _flatten(values)


def prm_settings(config: Config) -> dict[str, Any]:
    """Dotted key to value: what decides the rewards of a configuration's PRM beside what it is, whether its method asks
    it or not. Raises UserError where it is the same model as one that is missing."""
    prm = config.models.prm
    if prm is not None and prm.same_as is not None and getattr(config.models, prm.same_as) is None:
        raise UserError(f"models.prm.same_as: there is no models.{prm.same_as}")
    values = config.model("prm").model_dump(mode="json")
    _forget_place(values)
    del values["model"]
    return _flatten(values, OF_PRM)


def _forget_place(model: dict[str, Any]) -> None:
    """Remove settings about where and how fast a model is served, and settings that an older release did not know."""
    model.pop("same_as", None)  # which is where a PRM is served
    for setting in [name for name in settings_of_formats() if model.get(name, "") is None]:
        del model[setting]  # as before there were several formats
    if "engine" in model:
        kind = model["engine"]["kind"]
        record = ENGINE_KINDS[kind]
        model["engine"] = {
            key: value
            for key, value in model["engine"].items()
            if key not in PLACEMENT and (record.decides is None or key in ("kind", *record.decides))
        }
        model["engine"]["kind"] = record.same_as or kind


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def settings(config: Config) -> dict[str, Any]:
    """`identity`, but for where models lie."""
    return {key: value for key, value in identity(config).items() if not PLACE_OF_MODEL.fullmatch(key)}


def with_digests(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they stand in a run's files: long ones as a digest."""

    def short(value: Any) -> Any:
        text = json.dumps(value, sort_keys=True)
        return {"sha256": hashlib.sha256(text.encode()).hexdigest()[:16]} if len(text) > LONG else value

    return {key: short(value) for key, value in values.items()}


def usual(config: Config) -> set[str]:
    """Settings that have their default."""
    given = _flatten(config.model_dump(mode="json", exclude_defaults=True))
    return {key for key in settings(config) if key not in given}


def fingerprint(config: Config, models: Models = MappingProxyType({})) -> str:
    """The settings and models of which only the place is known."""
    told = {role: _what(parts) for role, parts in models.items()}
    return hashlib.sha256(json.dumps([settings(config), told], sort_keys=True).encode()).hexdigest()


def _what(parts: Parts) -> Parts:
    """The parts that say what a model is."""
    known = {part: digest for part, digest in parts.items() if part not in (PATH, COMMIT)}
    return known if WEIGHTS in known else known | {PATH: parts.get(PATH)}


def fingerprint_before(config: Config, text: str) -> str:
    """The fingerprint as releases made it that kept nothing else. `text`: their config.yaml, with every field they
    had."""
    from tasks.configuration.parsing import fields_of

    there = fields_of(text)
    values = {key: value for key, value in identity(config).items() if key in there}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def run_id(config_fingerprint: str, input_fingerprint: str) -> str:
    """The same for the same configuration on the same input, wherever it is run."""
    return hashlib.sha256(f"{config_fingerprint}:{input_fingerprint}".encode()).hexdigest()[:12]


def differences(there: Config, here: Config, *, places: bool = False) -> list[str]:
    """Differences of the settings of two configurations, as 'key: that there, this here'; with `places` also where
    models lie."""
    said = identity if places else settings
    return unlike(with_digests(said(there)), with_digests(said(here)))


def unlike(there: Mapping[str, Any], here: Mapping[str, Any], defaults: Collection[str] = ()) -> list[str]:
    """Differences of settings in the form of `with_digests`. `defaults`: those of this release, for settings that
    an older release did not know."""
    keys = [*there, *(key for key in here if key not in there and key not in defaults)]
    keys = [key for key in keys if there.get(key) != here.get(key)]
    keys.sort(key=lambda key: key.startswith("models."))  # another method brings other models: name the method first
    return [f"{key}: {_short(there.get(key))} there, {_short(here.get(key))} here" for key in keys]


def unlike_models(there: Models, here: Models) -> list[str]:
    """Differences of two runs' models, as far as both are known: a line for each model, and one for the day of
    prompts."""
    found: list[str] = []
    days: dict[tuple[str | None, str | None], list[str]] = {}
    for role in [role for role in here if role in there]:
        a, b = there[role], here[role]
        both = [part for part in a if part in b and part not in (PATH, COMMIT)]
        others = [part for part in both if a[part] != b[part]]
        if all(ALWAYS[0] in of and COMMIT not in of for of in (a, b)):  # two directories: what one lacks, it has not
            others += sorted(part for part in a.keys() ^ b.keys() if FILE.fullmatch(part))
        if WEIGHTS not in both:  # they are told by nothing better
            at = COMMIT if COMMIT in a and COMMIT in b else PATH
            others += [at] if a.get(at) != b.get(at) else []
        if DATE in others and TEMPLATE not in others:
            days.setdefault((a[DATE], b[DATE]), []).append(role)
            others = [part for part in others if part not in (DATE, PROMPT)]
        if TEMPLATE in others:  # which is why they are others
            others = [part for part in others if part not in (DATE, PROMPT)]
        if told := [_told(part, a, b) for part in others]:
            found.append(f"models.{role}: {', '.join(told)}")
    for (day, other), roles in days.items():
        found.append(f"prompt.date: {day} there, {other} here, which the chat template of {' and '.join(roles)} writes")
    return found


def _told(part: str, there: Parts, here: Parts) -> str:
    if part in (PATH, COMMIT, SERVED):
        name = {PATH: "", COMMIT: "commit ", SERVED: "served as "}[part]
        return f"{name}{there[part]} there, {name}{here[part]} here"
    if part == PROMPT:
        return "its prompts read differently"
    return f"{'other' if part == WEIGHTS else 'another'} {part}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "another text" if set(value) == {"sha256"} else "another"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
