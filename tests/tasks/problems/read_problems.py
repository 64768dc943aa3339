"""Problem sets, read whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.config import InputConfig
from tasks.errors import UserError
from tasks.problems.reader import Problem, shards
from tasks.problems.survey import survey
from tasks.storage.stores import Stores

LOCAL = Stores()


def read(path: str, *, size: int = 50, **input: Any) -> list[Problem]:
    """What a run would solve; what cannot be read is told by the survey, before any engine starts."""
    found = survey(InputConfig(path=path, **input), LOCAL, lambda rows: [False] * len(rows))
    usable = [problem for _, good, _ in shards(found, LOCAL, size, lambda number: True) for problem in good]
    assert len(usable) == found.usable
    return usable


def told(path: str, **input: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **input)
    return str(caught.value)


def metadata(problem: Problem) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(problem.metadata or "{}", parse_constant=refuse)
