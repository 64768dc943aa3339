"""A problem's own columns, which its solutions carry as metadata."""

from __future__ import annotations

import json


def choices_of(metadata: str | None) -> list[str] | None:
    """The options of a multiple choice; None where it is none."""
    if not metadata or '"choices"' not in metadata:
        return None
    return shown_choices(json.loads(metadata).get("choices"))


def shown_choices(choices: list[str | None] | None) -> list[str] | None:
    """Options as they are shown; None where there are none."""
    return ["" if choice is None else choice for choice in choices] if choices else None


def whole_level_of(metadata: str | None) -> str:
    """The level of a problem's own columns, which solutions carry as metadata; "" where there is none."""
    try:
        level = json.loads(metadata)["level"] if metadata and '"level"' in metadata else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return str(level) if isinstance(level, str | int | float) and not isinstance(level, bool) else ""
