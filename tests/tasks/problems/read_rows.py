"""Problem sets, read with the rows that are rejected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.config import InputConfig
from tasks.errors import UserError
from tasks.problems.reader import Problem, Rejected, shards
from tasks.problems.survey import Survey, survey
from tasks.storage.stores import Stores

LOCAL = Stores()


def none_too_long(rows: list[dict[str, Any]]) -> list[bool]:
    return [False] * len(rows)


def read(
    path: str, *, size: int = 1000, too_long: Any = none_too_long, limit: int | None = None
) -> tuple[Survey, list[Problem], list[Rejected]]:
    """Everything in a problem set."""
    found = survey(InputConfig(path=path, limit=limit), LOCAL, too_long)
    usable, rejected = [], []
    for _, here, bad in shards(found, LOCAL, size, lambda number: True):
        usable += here
        rejected += bad
    return found, usable, rejected


def mistake(path: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value)


def attempted(path: str) -> tuple[str, tuple[Survey, list[Problem], list[Rejected]] | None]:
    """What is told of a mistake, or what was read."""
    try:
        return "", read(path)
    except UserError as error:
        return str(error), None


def strictly(text: str | None) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text or "", parse_constant=refuse)
