"""Checks that the files of an output belong to one run, and to the wanted one.

config.yaml says what a run is. So do run.json, the manifest and the records, each for itself. People edit the one and
copy the others, so they are compared: what was made under one configuration is never taken for another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from schemas.config import Config
from tasks.configuration.identity import (
    Models,
    fingerprint_before,
    settings,
    unlike,
    unlike_models,
    usual,
    with_digests,
)
from tasks.errors import UserError
from tasks.models.model_files import DATE, PATH, PROMPT, TEMPLATE, Parts, folder_of, parts_of

Told = Mapping[str, Any]
"""What a file of a run holds."""
NAMED = 4
"""Differences that a message names."""


def check_agree(place: str, config: Config, text: str, told: Mapping[str, Told]) -> None:
    """Raises UserError if one of a run's files (key to content) belongs to another run than config.yaml (`config`, read
    from `text`)."""
    here, defaults, before = (
        with_digests(settings(config)),
        usual(config),
        cache(lambda: fingerprint_before(config, text)),
    )

    def unlike_here(of: Told) -> list[str]:
        if tells_models(of):
            return unlike(of["identity"]["settings"], here, defaults)
        older = "an older release of Stepwave wrote it, under another fingerprint of its configuration"
        return [] if of["config_fingerprint"] == before() else [older]

    unlike_config = {key: found for key, of in told.items() if (found := unlike_here(of))}
    if unlike_config and len(unlike_config) == len(told):
        raise UserError(
            f"{place}/config.yaml: was changed since the run began ({listed(next(iter(unlike_config.values())))}); put "
            "it back as it was, or give another output.path"
        )
    for key, found in unlike_config.items():
        raise UserError(f"{place}/{key}: is of another run than this output's ({listed(found)}); {_REMOVE}")
    first, *others = told.items() or [("", {})]
    for key, of in others:
        if of["run_id"] != first[1]["run_id"]:
            found = _unlike_each_other(first[1], of)
            raise UserError(f"{place}: {first[0]} and {key} are of different runs ({listed(found)}); {_REMOVE}")


_REMOVE = "remove what does not belong here, or give another output.path"


def check_models(place: str, told: Iterable[Told], models: Models) -> None:
    """Raises UserError if a run's files name other models than these."""
    for of in told:
        if found := unlike_models(of.get("identity", {}).get("models", {}), models):
            raise UserError(
                f"{place}: holds a run of other models ({listed(found)}); put back what it began with, or give another "
                "output.path"
            )


def check_places(place: str, config: Config, told: Iterable[Told]) -> None:
    """UserError where config.yaml has a model in another place than any of the run's files tell, and what lies there,
    or what they tell of it as another role's, is another model. Of a place that is not here nothing is known."""
    kept = [of["identity"]["models"] for of in told if tells_models(of)]
    models = {role: getattr(config.models, role) for role in dict.fromkeys(role for of in kept for role in of)}
    for role, model in models.items():
        there = [of[role] for of in kept if role in of]
        if model is None or model.model in (None, *(parts.get(PATH) for parts in there)):
            continue
        others = (parts for of in kept for parts in of.values() if parts.get(PATH) == model.model)
        here = next(others, None) or (parts_of(model) if folder_of(model.model) else {})
        if here and unlike_models({role: _of_files(there[0])}, {role: _of_files(here)}):
            changed = f"models.{role}.model: {there[0].get(PATH)} there, {model.model} here, which is another model"
            raise UserError(
                f"{place}/config.yaml: was changed since the run began ({changed}); put it back as it was, or give "
                "another output.path"
            )


def _of_files(parts: Parts) -> Parts:
    return {part: digest for part, digest in parts.items() if part not in (PROMPT, DATE, TEMPLATE)}


def check_day_is_kept(place: str, told: Iterable[Told], models: Models) -> None:
    """Raises UserError if prompts write the day, and the run began under a release that did not keep it."""
    roles = [role for role, parts in models.items() if DATE in parts]
    if roles and not all(tells_models(of) for of in told):
        raise UserError(
            f"{place}: an older release of Stepwave began this run and did not keep the day that the chat template of "
            f"{' and '.join(roles)} writes; give another output.path"
        )


def tells_models(told: Told) -> bool:
    """Was it written by a release that keeps what models are?"""
    return "identity" in told


def listed(found: list[str]) -> str:
    """The first few differences as text."""
    return "; ".join(found[:NAMED])


def _unlike_each_other(one: Told, other: Told) -> list[str]:
    found = []
    if tells_models(one) and tells_models(other):
        found = unlike(one["identity"]["settings"], other["identity"]["settings"])
        found += unlike_models(one["identity"]["models"], other["identity"]["models"])
    if one["input_fingerprint"] != other["input_fingerprint"]:
        found.append("another input")
    return found or [f"run {one['run_id']} and run {other['run_id']}"]
