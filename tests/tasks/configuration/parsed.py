"""Configurations made of few lines."""

from __future__ import annotations

from typing import Any

import yaml

from schemas.config import Config
from tasks.configuration.parsing import parse_config

LEAST: dict[str, Any] = {
    "input": {"path": "p.parquet"},
    "output": {"path": "out"},
    "models": {"draft": {"model": "a/draft"}, "target": {"model": "a/target"}, "prm": {"model": "a/prm"}},
}


def parsed(*changes: str, text: str | None = None) -> Config:
    return parse_config(yaml.safe_dump(LEAST) if text is None else text, list(changes), "job.yaml")
