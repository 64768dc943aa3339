"""Reads a configuration: YAML, `--set` changes, validation, and the messages for mistakes."""

from __future__ import annotations

import difflib
import logging
import os
import re
import types
import typing
from functools import partial
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from schemas.config import ACCEPTANCE_RULES, Config, DecodingConfig, ModelConfig, StorageConfig
from schemas.credentials import MEND, CredentialError, find_credentials, shown_key
from schemas.evaluation import EvaluationConfig
from schemas.methods import METHODS, unread
from tasks.configuration.ineffective import mistakes
from tasks.configuration.placeholders import SEEDS, C, Due, fill, fill_seeds, with_paths
from tasks.errors import UserError

log = logging.getLogger("stepwave")

MOST_VALUES = 100_000
"""Most values of a configuration. An alias counts as often as it is used."""


def parse(kind: type[C], text: str, changes: list[str], name: str, due: Due | None = None) -> C:
    """A configuration from text; `name` is what messages call it."""
    return from_values(kind, read_yaml(text, name), changes, name, due)


def parse_config(text: str, changes: list[str], name: str) -> Config:
    """The configuration that an output keeps, from its text; `name` is what messages call it. Settings without effect
    are not refused here, because the run exists already."""
    return from_values(Config, read_yaml(text, name), changes, name, kept=True)


def from_values(
    kind: type[C], values: Any, changes: list[str], name: str, due: Due | None = None, *, kept: bool = False
) -> C:
    """A configuration from a mapping, which is not changed. `kept`: see `parse_config`."""
    if not isinstance(values, dict):
        required = [key for key, field in kind.model_fields.items() if field.is_required()]
        raise UserError(f"{name}: must be a mapping with {', '.join(required[:-1])} and {required[-1]}")
    run, evaluation = "input" in values, "benchmarks" in values
    if kind is Config and evaluation and not run:
        raise UserError(f"{name}: this is an evaluation, for `stepwave evaluate`")
    if kind is EvaluationConfig and run and not evaluation:
        raise UserError(f"{name}: this is the configuration of one run, for `stepwave generate`")
    values, before = _plain(values, name), _plain(values, name)
    for change in changes:
        _apply(values, change, kind)
    _leave_behind(values, before, changes)
    try:
        config = kind.model_validate(fill_seeds(values, due))
    except CredentialError as error:
        raise UserError(f"{name}: {error}") from None
    except ValidationError as error:
        raise UserError(f"{name}: " + "; ".join(_tell(e, kind) for e in _mistakes(error)[:3])) from error
    filled = absolute(fill(config, due))
    if not kept and (found := mistakes(config, values, partial(_changed, _keys(changes)))):
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
        _apply(values, change)
    if where := find_credentials(values):
        raise UserError(f"--set {where}: {MEND}")
    try:
        return StorageConfig.model_validate(values.get("storage") or {})
    except ValidationError as error:
        mistakes = [typing.cast(Any, e) | {"loc": ("storage", *e["loc"])} for e in error.errors()[:3]]
        raise UserError("--set: " + "; ".join(_tell(e, Config) for e in mistakes)) from error


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


def read_yaml(text: str, name: str) -> Any:
    """Text as YAML. Messages about mistakes quote nothing of the text, which may hold a credential."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _sizes(node, {}, name)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except UserError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark and not name.startswith("--set") else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not understood"
        raise UserError(
            f"{name}{where}: not valid YAML ({_unquoted(reason)}); text that begins with a sign such as * [ {{ & ! "
            "goes in quotes"
        ) from error
    except RecursionError:
        raise UserError(f"{name}: nested too deeply") from None
    except Exception as error:  # a date or number that only looks like one: each type has errors of its own
        raise UserError(
            f"{name}: holds a value that YAML cannot read ({_unquoted(error)}); put it in quotes"
        ) from error


def _unquoted(reason: object) -> str:
    """A parser's words without what it quotes."""
    return re.sub(r"(['\"]).{2,}\1", "...", " ".join(str(reason).split()))[:200]


def _sizes(node: yaml.Node, sizes: dict[int, int], name: str) -> int:
    """Number of values below a node. Values that aliases repeat count each time, so that a few lines cannot stand for
    millions. `sizes`: those of nodes seen before; 0 for a node that is still open, which then contains itself."""
    if (known := sizes.get(id(node))) is not None:
        if known == 0:
            raise UserError(f"{name}: an alias holds itself")
        return known
    sizes[id(node)] = 0
    count = 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise UserError(f"{name}, line {key.start_mark.line + 1}: {shown_key([key.value])} is set twice")
                seen.add(key.value)
            count += _sizes(key, sizes, name) + _sizes(value, sizes, name)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_sizes(item, sizes, name) for item in node.value)
    if count > MOST_VALUES:
        raise UserError(f"{name}: holds more than {MOST_VALUES:,} values")
    sizes[id(node)] = count
    return count


def _plain(value: Any, name: str) -> Any:
    """A copy of a value in which aliases share nothing, so that a change of one does not change the other."""
    if isinstance(value, dict):
        return {_plain(key, name): _plain(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise UserError(f"{name}: holds half of a surrogate pair, which is no character")
    if isinstance(value, int) and abs(value) > 10**100:
        raise UserError(f"{name}: holds a number of more than 100 digits")
    return value


def _apply(values: dict[str, Any], change: str, kind: type[BaseModel] = Config) -> None:
    """Set one dotted key of a configuration. The value is read as YAML, unless the field takes text."""
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        shown = f" {shown_key(parts)}" if parts[0] in Config.model_fields else ""
        raise UserError(f"--set{shown}: reads dotted.key=value, such as decoding.accept.threshold=0.8")
    name = f"--set {shown_key(parts)}"
    value = _plain((text.strip(" ") or text) if _is_text(kind, parts, text) else read_yaml(text, name), name)
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
            fields = [model.model_fields[part] for model in _models(at) if part in model.model_fields]
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


def _keys(changes: list[str]) -> list[str]:
    return [change.partition("=")[0].strip() for change in changes]


def _changed(keys: list[str], key: str) -> bool:
    """Do changes of these keys set another, or a part of it?"""
    return any(f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}.") for other in keys)


def _leave_behind(values: dict[str, Any], before: dict[str, Any], changes: list[str]) -> None:
    """Remove settings of the file that belong to another method, acceptance rule or temperature than the changes set.
    What changes set themselves stays, in any order."""
    decoding, was = values.get("decoding"), before.get("decoding") or {}
    if not isinstance(decoding, dict) or not isinstance(was, dict) or "benchmarks" in values:
        return
    keys = _keys(changes)

    def forget(section: dict[str, Any], name: str, where: str) -> None:
        if not _changed(keys, f"{where}.{name}"):
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


def _mistakes(error: ValidationError) -> list[Any]:
    """The mistakes that were found, without lists that are too short only because their elements are mistaken."""
    found = error.errors()

    def within(at: tuple[Any, ...]) -> bool:
        return any(len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in found)

    return [one for one in found if one["type"] != "too_short" or not within(one["loc"])]


def _tell(error: Any, kind: type[BaseModel]) -> str:
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
