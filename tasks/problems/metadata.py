"""A problem's own columns, which its solutions carry as metadata.

Outputs that others made may hold anything there: what is no column is none."""

from __future__ import annotations

import json
import re
from typing import Any

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a pair, which is no text without the other."""


def columns_of(metadata: str | None) -> dict[str, Any]:
    """Column to its value."""
    try:
        found = json.loads(metadata or "{}")
        if metadata and SURROGATE.search(metadata):
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def choices_of(metadata: str | None) -> list[str] | None:
    """The options of a multiple choice; None where it is none."""
    return shown_choices(columns_of(metadata).get("choices")) if metadata and '"choices"' in metadata else None


def shown_choices(choices: Any) -> list[str] | None:
    """Options as they are shown; None where there are none."""
    if not isinstance(choices, list) or not all(choice is None or isinstance(choice, str) for choice in choices):
        return None
    return ["" if choice is None else choice for choice in choices] or None


def steps_of(metadata: str | None, column: str) -> list[str]:
    """The steps from which a roll-out goes on."""
    steps = columns_of(metadata).get(column)
    return steps if isinstance(steps, list) and all(isinstance(step, str) for step in steps) else []


def whole_level_of(metadata: str | None) -> str:
    """The level of a problem's own columns; "" where there is none."""
    level = columns_of(metadata).get("level") if metadata and '"level"' in metadata else None
    return str(level) if isinstance(level, str | int | float) and not isinstance(level, bool) else ""
