"""The settings of a page's runs, as people read them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from schemas.config import Config
from schemas.methods import unread
from tasks.report.places import ReportedRun

ELSEWHERE = ("output", "storage")
"""Sections that are left out: they say where a run lies, not what it did."""
MOST_VALUES = 12
"""Of one setting, of runs that differ in it."""
MOST_NAMES = 4
"""Of runs, of which one value is."""
Value = tuple[str, bool]
"""A value as text, and whether it is the default."""


class Setting(NamedTuple):
    """A field of the configuration, and its values in the page's runs."""

    name: str
    given: bool
    """Is it other than the default, in any run?"""
    values: list[tuple[str, str]]
    """Each with the runs that have it; "" where all do."""
    more: int
    """Values that are left out."""


def settings(runs: list[ReportedRun]) -> dict[str, list[Setting]]:
    """Section to its settings, as config.yaml has them, but for those that the run's method does not read. What is null
    by default is left out."""
    found: dict[str, dict[str, dict[Value, list[ReportedRun]]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        for key, value, default in _flat(run.config, None):
            if _read(run.config, *key.split(".")) and not (value is None and default):
                depth = 2 if key.startswith("models.") else 1
                section, name = (".".join(some) for some in (key.split(".")[:depth], key.split(".")[depth:]))
                found[section][name].setdefault((_text(value), default), []).append(run)
    return {
        section: [_setting(name, values, runs) for name, values in names.items()] for section, names in found.items()
    }


def _read(config: Config, section: str, name: str = "", *_: str) -> bool:
    """True if a setting says what the run did."""
    if section == "decoding":
        return name not in unread(config.decoding.method)
    if section == "models":
        return name in config.roles or (name == "draft" and config.proposer is not None)
    return section not in ELSEWHERE


def _setting(name: str, values: dict[Value, list[ReportedRun]], runs: list[ReportedRun]) -> Setting:
    shown = [(text, _whose(of, runs)) for (text, _), of in values.items()][:MOST_VALUES]
    return Setting(name, not all(default for _, default in values), shown, len(values) - len(shown))


def _whose(of: list[ReportedRun], runs: list[ReportedRun]) -> str:
    """The runs that have a value: those of benchmarks, of methods, or single ones, whichever says it."""
    if len(of) == len(runs):
        return ""
    for name_of in (lambda run: run.benchmark, lambda run: run.title):
        names = dict.fromkeys(map(name_of, of))
        if len(names) <= MOST_NAMES and sum(name_of(run) in names for run in runs) == len(of):
            return ", ".join(names)
    if len(of) <= MOST_NAMES:
        return ", ".join(f"{run.benchmark} {run.name}".strip() for run in of)
    return f"{len(of):,} of {len(runs):,} runs"


def _flat(section: BaseModel, base: BaseModel | None, within: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Dotted key, value, and whether that is the default. Defaults are the values of `base`, the section as it is if
    nothing is given; without `base` those of the fields."""
    for name, field in type(section).model_fields.items():
        value, default = getattr(section, name), field.get_default(call_default_factory=True)
        if base is not None:
            default = getattr(base, name, default) if type(base) is type(section) else ...
        if isinstance(value, BaseModel):
            yield from _flat(value, default if isinstance(default, BaseModel) else None, f"{within}{name}.")
        else:
            yield f"{within}{name}", value, value == default
    for name, value in (section.model_extra or {}).items():
        yield f"{within}{name}", value, False


def _text(value: Any) -> str:
    """A value as text that can be read in one way only: quoted where blanks or signs would not be seen."""
    plain = to_jsonable_python(value)
    if isinstance(plain, str) and plain.strip() == plain != "" and plain.replace("\n", "").isprintable():
        return plain
    text = json.dumps(plain, ensure_ascii=False)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
