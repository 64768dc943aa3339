"""The PRM formats: one record each, which everybody asks who needs to know what a format is.

To add a format: a record here, its code in tasks/models/formats and a line in FORMATS there, and settings of
its own, if it has any, in `PrmConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.registry import KeyOf, with_


@dataclass(frozen=True, kw_only=True)
class FormatRecord:
    """What a PRM format is."""

    settings: tuple[str, ...] = ()
    """Settings of `models.prm` that it reads and not every format does."""
    shares: bool = False
    """May its model be one that writes as well (`models.prm.same_as`)?"""
    asks_model: bool = True
    """Does it ask a reward model? Otherwise rewards are made of what writers' engines say as they write."""


PRM_FORMATS: dict[str, FormatRecord] = {
    "qwen": FormatRecord(),
    "skywork": FormatRecord(settings=("tag",)),
    "shepherd": FormatRecord(settings=("tag", "good", "bad"), shares=True),
    "rlhflow": FormatRecord(shares=True),
    "outcome": FormatRecord(),
    "judge": FormatRecord(shares=True),
    "confidence": FormatRecord(settings=("over",), asks_model=False),
}

PrmFormat = Annotated[str, KeyOf(PRM_FORMATS)]


def formats_with(setting: str) -> tuple[str, ...]:
    """The formats that read a setting of `models.prm`; none for those that every format reads."""
    return with_(PRM_FORMATS, lambda form: setting in form.settings)


def settings_of_formats() -> tuple[str, ...]:
    """Settings of `models.prm` that only some formats read."""
    return tuple(dict.fromkeys(name for form in PRM_FORMATS.values() for name in form.settings))
