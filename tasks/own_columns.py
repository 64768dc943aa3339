"""A problem's own columns, which its solutions carry as metadata."""

from __future__ import annotations

import json


def choices_of(metadata: str | None) -> list[str] | None:
    """The options of a multiple choice; None where it is none."""
    if not metadata or '"choices"' not in metadata:
        return None
    return whole(json.loads(metadata).get("choices"))


def whole(choices: list[str | None] | None) -> list[str] | None:
    """Options as they are shown; None where there are none."""
    return ["" if choice is None else choice for choice in choices] if choices else None
