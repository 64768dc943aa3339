"""What pydantic finds wrong with a configuration, in the user's words."""

from __future__ import annotations

import difflib
import re
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.config import ACCEPTANCE_RULES
from schemas.credentials import shown_key
from tasks.configuration.changes import models_in


def found_in(error: ValidationError) -> list[Any]:
    """The mistakes that were found, without lists that are too short only because their elements are mistaken."""
    found = error.errors()

    def within(at: tuple[Any, ...]) -> bool:
        return any(len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in found)

    return [one for one in found if one["type"] != "too_short" or not within(one["loc"])]


def tell(error: Any, kind: type[BaseModel]) -> str:
    """One mistake in the user's words. A value is repeated only where it cannot be a credential."""
    location = [str(part) for part in error["loc"]]
    known, shown = _walk(location, kind)
    where = shown_key(shown) or "configuration"
    if error["type"] == "extra_forbidden" and shown[-2:-1] == ["accept"] and (rules := _rules_with(shown[-1])):
        return f"{where}: rule {location[-2]} has no such parameter; {' and '.join(rules)} do{'es' * (len(rules) < 2)}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(shown[-1], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{where} is missing"
    given = error.get("input")
    if error["type"] == "union_tag_invalid":
        tag = f" {error['ctx']['tag']}" if _harmless(error["ctx"]["tag"]) else ""
        return f"{where}.rule: unknown rule{tag}; known: {error['ctx']['expected_tags']}"
    message = error["msg"].removeprefix("Value error, ")
    if not location:
        return message
    shown_value = f" (got {given!r})" if shown[:1] != ["storage"] and _harmless(given) else ""
    return f"{where}: {message[0].lower()}{message[1:]}{shown_value}"


def _rules_with(parameter: str) -> list[str]:
    """The acceptance rules that have a parameter."""
    return [name for name, rule in ACCEPTANCE_RULES.items() if parameter in rule.model_fields]


def _harmless(given: Any) -> bool:
    return isinstance(given, bool | int | float) or (
        isinstance(given, str) and re.fullmatch("[a-z_ ]{0,20}", given) is not None
    )


def _walk(location: list[str], kind: type[BaseModel]) -> tuple[list[str], list[str]]:
    """Keys known beside the last part of a location, and the location as the user wrote it (without union tags)."""
    at: Any = kind
    known: list[str] = []
    shown: list[str] = []
    for part in location:
        if typing.get_origin(at) is tuple:  # this part is a place in it
            at = typing.get_args(at)[0]
            shown.append(part)
            continue
        if typing.get_origin(at) is dict:  # this part is a key of it
            at = typing.get_args(at)[1]
            shown.append(part)
            continue
        if part == "[key]":  # the key before it is what is wrong
            continue
        options = [at] if isinstance(at, type) and issubclass(at, BaseModel) else list(models_in(at))
        if len(options) > 1:  # a discriminated union: this part is the tag
            at = next((o for o in options if o.__name__.lower() == part), at)
            continue
        known = list(options[0].model_fields) if options else []
        shown.append(part)
        field = options[0].model_fields.get(part) if options else None
        at = field.annotation if field else None
    return known, shown
