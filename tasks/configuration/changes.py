"""`--set` changes: what they set, and what they leave behind."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from schemas.config import Config, DecodingConfig
from schemas.credentials import shown_key
from schemas.methods import METHODS, unread
from tasks.configuration.placeholders import SEEDS
from tasks.configuration.yaml_text import plain, read_yaml
from tasks.errors import UserError


def apply(values: dict[str, Any], change: str, kind: type[BaseModel] = Config) -> None:
    """Set one dotted key of a configuration. The value is read as YAML, unless the field takes text."""
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        shown = f" {shown_key(parts)}" if parts[0] in Config.model_fields else ""
        raise UserError(f"--set{shown}: reads dotted.key=value, such as decoding.accept.threshold=0.8")
    name = f"--set {shown_key(parts)}"
    value = plain((text.strip(" ") or text) if _is_text(kind, parts, text) else read_yaml(text, name), name)
    at: Any = values
    for part in parts[:-1]:
        if isinstance(at, list) and part.isascii() and part.isdecimal() and int(part) < len(at):
            at = at[int(part)]
            continue
        if isinstance(at, dict) and at.get(part) is None:
            at[part] = {}
        if not isinstance(at, dict) or not isinstance(at[part], dict | list):
            raise UserError(f"{name}: {shown_key([part])} is not a section")
        at = at[part]
    if not isinstance(at, dict):
        raise UserError(f"{name}: {shown_key(parts[:-1])} is not a section")
    at[parts[-1]] = value


NULLS = ("", "null", "Null", "NULL", "~")


def _is_text(kind: type[BaseModel], parts: list[str], text: str) -> bool:
    """True if the value of a change is taken as text. YAML would make a mapping of `Solve: {x}`, a number or a date of
    digits, and drop what follows a #. So the value of a field that takes text is read as YAML only if it is null or in
    quotes."""
    if text in NULLS or text.lstrip()[:1] in ("'", '"'):
        return False
    if ".".join(parts) == SEEDS[0]:
        return "{" in text  # a placeholder
    at: Any = kind
    for part in parts:
        if typing.get_origin(at) is dict:
            at = typing.get_args(at)[1]
        elif typing.get_origin(at) is tuple:
            at = typing.get_args(at)[0]
        else:
            fields = [model.model_fields[part] for model in models_in(at) if part in model.model_fields]
            at = fields[0].annotation if fields else None
    if typing.get_origin(at) is tuple:
        return str in _kinds(typing.get_args(at)[0]) and not text.lstrip().startswith("[")
    return str in _kinds(at)


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation can stand for."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for option in typing.get_args(annotation) for kind in _kinds(option)]
    return [annotation]


def keys_of(changes: Sequence[str]) -> list[str]:
    """The dotted keys that changes set."""
    return [change.partition("=")[0].strip() for change in changes]


def changed(keys: list[str], key: str) -> bool:
    """Do changes of these keys set another, or a part of it?"""
    return any(f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}.") for other in keys)


def leave_behind(values: dict[str, Any], before: dict[str, Any], changes: list[str]) -> None:
    """Remove settings of the file that belong to another method, acceptance rule or temperature than the changes set.
    What changes set themselves stays, in any order."""
    decoding, was = values.get("decoding"), before.get("decoding") or {}
    if not isinstance(decoding, dict) or not isinstance(was, dict) or "benchmarks" in values:
        return
    keys = keys_of(changes)

    def forget(section: dict[str, Any], name: str, where: str) -> None:
        if not changed(keys, f"{where}.{name}"):
            section.pop(name, None)

    usual = DecodingConfig()
    known = isinstance(method := decoding.get("method", usual.method), str) and method in METHODS
    if known and method != was.get("method", usual.method):
        for name in unread(method):
            forget(decoding, name, "decoding")
        draft = values["models"].get("draft") if isinstance(values.get("models"), dict) else None
        if METHODS[method].proposer and isinstance(draft, dict):
            forget(draft, "engine", "models.draft")
    if decoding.get("temperature", 0) == 0 and was.get("temperature", 0) != 0:
        forget(decoding, "top_p", "decoding")
    accept, of_file = decoding.get("accept"), was.get("accept") or {}
    if isinstance(accept, dict) and isinstance(of_file, dict):
        rule = of_file.get("rule", usual.accept.rule)
        if accept.get("rule", rule) != rule:
            for name in [name for name in accept if name != "rule"]:
                forget(accept, name, "decoding.accept")


def models_in(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    """The models that an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for option in typing.get_args(annotation):
            yield from models_in(option)
