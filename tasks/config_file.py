"""Reading a configuration: YAML, `--set` changes, validation, and what to say about a mistake."""

from __future__ import annotations

import difflib
import os
import types
import typing
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from schemas.config import Config, StorageConfig
from tasks.errors import UserError
from tasks.store import open_input


def load_config(path: str, changes: list[str]) -> Config:
    """The configuration in a YAML file (local or s3://) with `dotted.key=value` changes, paths made absolute."""
    if not path:
        raise UserError("the configuration file's name is empty")
    try:
        with open_input(path, StorageConfig()) as f:
            text = f.read().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, not a configuration file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    return parse_config(text, changes, path)


def parse_config(text: str, changes: list[str], name: str) -> Config:
    """The same from text; `name` is what messages call it."""
    values = _yaml(text, name)
    if not isinstance(values, dict):
        raise UserError(f"{name}: must be a mapping with input, output and models")
    for change in changes:
        _apply(values, change)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{name}: " + "; ".join(_tell(e) for e in error.errors()[:3])) from error
    return absolute(config)


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _yaml(text: str, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark and not name.startswith("--set") else ""
        raise UserError(
            f"{name}{where}: not valid YAML ({getattr(error, 'problem', None) or error}); text that "
            "begins with a sign such as * [ { & ! goes in quotes"
        ) from error
    except RecursionError:
        raise UserError(f"{name[:200]}: nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a date or number that only looks like one
        raise UserError(f"{name[:200]}: holds a value that YAML cannot read ({error}); put it in quotes") from error


def _apply(values: dict[str, Any], change: str) -> None:
    """Set one dotted key; the value is read as YAML."""
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {change}: reads dotted.key=value, such as decoding.accept.threshold=0.8")
    value = _yaml(text, f"--set {change}")
    at = values
    for part in parts[:-1]:
        if at.get(part) is None:
            at[part] = {}
        if not isinstance(at[part], dict):
            raise UserError(f"--set {change}: {part} is not a section")
        at = at[part]
    if parts == ["decoding", "accept", "rule"] and at.get("rule", "threshold") != value:
        at.clear()  # the other rule's parameters mean nothing to this one
    at[parts[-1]] = value


def absolute(config: Config) -> Config:
    """Local paths made absolute, so that the resolved configuration means the same from anywhere."""

    def path(text: str) -> str:
        return text if "://" in text else os.path.abspath(os.path.expanduser(text))

    models = {
        role: model.model_copy(update={"model": path(model.model)})
        for role in ("draft", "target", "prm")
        if (model := getattr(config.models, role)) and os.path.isdir(os.path.expanduser(model.model))
    }
    return config.model_copy(
        update={
            "input": config.input.model_copy(update={"path": path(config.input.path)}),
            "output": config.output.model_copy(update={"path": path(config.output.path)}),
            "models": config.models.model_copy(update=models),
        }
    )


def _tell(error: Any) -> str:
    """One mistake in the user's words."""
    location = [str(part) for part in error["loc"]]
    known, shown = _walk(location)
    where = ".".join(shown) or "configuration"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(shown[-1], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "union_tag_invalid":
        return f"{where}.rule: unknown rule {error['ctx']['tag']}; known: {error['ctx']['expected_tags']}"
    message = error["msg"].removeprefix("Value error, ")
    if not location:
        return message
    given = error.get("input")
    tell = isinstance(given, str | int | float | bool) and shown[:1] != ["storage"]  # an endpoint may hold a secret
    shown_value = f" (got {str(given)[:60]!r})" if tell else ""
    return f"{where}: {message[0].lower()}{message[1:]}{shown_value}"


def _walk(location: list[str]) -> tuple[list[str], list[str]]:
    """Keys known beside the last part of a location, and the location as the user wrote it (without union tags)."""
    at: Any = Config
    known: list[str] = []
    shown: list[str] = []
    for part in location:
        options = [at] if isinstance(at, type) and issubclass(at, BaseModel) else list(_models(at))
        if len(options) > 1:  # a discriminated union: this part is the tag
            at = next((o for o in options if o.__name__.lower() == part), at)
            continue
        known = list(options[0].model_fields) if options else []
        shown.append(part)
        field = options[0].model_fields.get(part) if options else None
        at = field.annotation if field else None
    return known, shown


def _models(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    """The models that an annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for option in typing.get_args(annotation):
            yield from _models(option)
