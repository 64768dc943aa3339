"""Reads a configuration: YAML and `--set` changes, validated."""

from __future__ import annotations

import logging
import os
import typing
from functools import partial
from typing import Any

import yaml
from pydantic import ValidationError

from schemas.config import Config, ModelConfig, StorageConfig
from schemas.credentials import MEND, CredentialError, find_credentials, shown_key
from schemas.evaluation import EvaluationConfig
from tasks.configuration.changes import apply, changed, keys_of, leave_behind
from tasks.configuration.ineffective import mistakes
from tasks.configuration.messages import found_in, tell
from tasks.configuration.placeholders import C, Due, fill, fill_seeds, with_paths
from tasks.configuration.yaml_text import plain, read_yaml
from tasks.errors import UserError

log = logging.getLogger("stepwave")


def parse(kind: type[C], text: str, changes: list[str], name: str, due: Due | None = None) -> C:
    """A configuration from text; `name` is what messages call it."""
    return from_values(kind, read_yaml(text, name), changes, name, due)


def parse_config(text: str, changes: list[str], name: str) -> Config:
    """The configuration that an output keeps, from its text; `name` is what messages call it. Settings without effect
    are not refused here, because the run exists already."""
    return from_values(Config, read_yaml(text, name), changes, name, stored=True)


def from_values(
    kind: type[C], values: Any, changes: list[str], name: str, due: Due | None = None, *, stored: bool = False
) -> C:
    """A configuration from a mapping, which is not changed. `stored`: see `parse_config`."""
    if not isinstance(values, dict):
        required = [key for key, field in kind.model_fields.items() if field.is_required()]
        raise UserError(f"{name}: must be a mapping with {', '.join(required[:-1])} and {required[-1]}")
    run, evaluation = "input" in values, "benchmarks" in values
    if kind is Config and evaluation and not run:
        raise UserError(f"{name}: this is an evaluation, for `stepwave evaluate`")
    if kind is EvaluationConfig and run and not evaluation:
        raise UserError(f"{name}: this is the configuration of one run, for `stepwave generate`")
    values, before = plain(values, name), plain(values, name)
    for change in changes:
        apply(values, change, kind)
    leave_behind(values, before, changes)
    try:
        config = kind.model_validate(fill_seeds(values, due))
    except CredentialError as error:
        raise UserError(f"{name}: {error}") from None
    except ValidationError as error:
        raise UserError(f"{name}: " + "; ".join(tell(e, kind) for e in found_in(error)[:3])) from error
    filled = absolute(fill(config, due))
    if not stored and (found := mistakes(config, values, partial(changed, keys_of(changes)))):
        raise UserError(f"{name}: " + "; ".join(found[:3]))
    return filled


def parse_storage(changes: list[str], others: tuple[str, ...] = ()) -> StorageConfig:
    """The storage section that `storage.*` changes make. `others`: what else can be set, for the message."""
    known = [f"{prefix}*" for prefix in ("storage.", *others)]
    which = " and ".join([", ".join(known[:-1]), known[-1]] if others else known)
    values: dict[str, Any] = {}
    for change in changes:
        if not change.startswith("storage."):
            raise UserError(f"--set {shown_key(change.partition('=')[0].split('.'))}: only {which} can be set here")
        apply(values, change)
    if where := find_credentials(values):
        raise UserError(f"--set {where}: {MEND}")
    try:
        return StorageConfig.model_validate(values.get("storage") or {})
    except ValidationError as error:
        mistakes = [typing.cast(Any, e) | {"loc": ("storage", *e["loc"])} for e in error.errors()[:3]]
        raise UserError("--set: " + "; ".join(tell(e, Config) for e in mistakes)) from error


def dump_config(config: Config | EvaluationConfig) -> str:
    """The resolved configuration as YAML, every default written out."""
    once: Any = {"decoding": {"seed"}, "methods": {"__all__": {"seed"}}}  # an evaluation has `seeds`
    values = config.model_dump(mode="json", exclude=once if isinstance(config, EvaluationConfig) else None)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    if yaml.safe_load(text) != values:  # some characters end a line for YAML: written as they are they come back others
        text = yaml.safe_dump(values, sort_keys=False, width=120)
    return text


def fields_of(text: str) -> set[str]:
    """Dotted keys of a configuration file, of any release."""

    def flat(values: Any, prefix: str) -> set[str]:
        if not isinstance(values, dict):
            return {prefix}
        return {key for name, of in values.items() for key in flat(of, f"{prefix}.{name}" if prefix else f"{name}")}

    return flat(read_yaml(text, "config.yaml"), "")


def absolute(config: C) -> C:
    """Make local paths absolute, so that the resolved configuration means the same from any directory."""

    def path(text: str) -> str:
        return text if "://" in text else os.path.abspath(os.path.expanduser(text))

    def located(model: ModelConfig) -> ModelConfig:
        if not os.path.isdir(os.path.expanduser(model.model)):
            return model  # a hub id
        return model.model_copy(update={"model": path(model.model)})

    models = {role: located(model) for role in ("draft", "target", "prm") if (model := getattr(config.models, role))}
    moved = with_paths(config, lambda field, text: path(text))
    changes: dict[str, Any] = {"models": config.models.model_copy(update=models)}
    if isinstance(config, EvaluationConfig):
        changes["prms"] = {label: located(model) for label, model in config.prms.items()}
    return moved.model_copy(update=changes)
