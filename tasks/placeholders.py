"""`{date}` and `{time}` in a configuration's paths: the moment for which a job was scheduled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.errors import UserError

C = TypeVar("C", Config, EvaluationConfig)

PLACEHOLDERS = {"{date}": "%Y-%m-%d", "{time}": "%H%M%S"}
"""What stands for what, in UTC. All other braces are part of the path."""


def with_paths(config: C, change: Callable[[str, str], str]) -> C:
    """A configuration whose input and output paths are what `change` makes of (field, path)."""

    def moved(section: object, field: str) -> object:
        return section.model_copy(update={"path": change(f"{field}.path", section.path)})  # type: ignore[attr-defined]

    changes = {"output": moved(config.output, "output")}
    if isinstance(config, Config):
        changes["input"] = moved(config.input, "input")
    else:
        changes["benchmarks"] = tuple(moved(one, f"benchmarks.{n}") for n, one in enumerate(config.benchmarks))
    return config.model_copy(update=changes)


def fill(config: C, due: datetime | None) -> C:
    """A configuration with its placeholders filled in. Raises UserError where there are any and nothing is `due`: a
    command that is run again tomorrow must find today's output."""

    return with_paths(config, lambda field, path: fill_path(path, due, field, f" (--set {field}=...)"))


def fill_path(path: str, due: datetime | None, field: str, mend: str = "") -> str:
    """A path with its placeholders filled in; UserError as in `fill`, with `mend` at its end."""
    for text, pattern in PLACEHOLDERS.items():
        if text in path and due is None:
            raise UserError(
                f"{field}: {text} is filled in where a Prefect deployment runs; here, give the path itself{mend}"
            )
        path = path.replace(text, due.astimezone(UTC).strftime(pattern) if due else text)
    return path
