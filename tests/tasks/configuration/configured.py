"""Configurations of each method, made of a few sections."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.configuration.parsing import from_values
from tasks.errors import UserError

MODELS = {"draft": {"model": "a/draft"}, "target": {"model": "a/target"}, "prm": {"model": "a/prm"}}

RUNS = {
    "rsd": {},
    "target": {},
    "draft": {},
    "speculative": {},
    "majority": {"samples": 4, "temperature": 0.7},
    "best_of_n": {"samples": 4, "temperature": 0.7},
    "process_best_of_n": {"candidates": 4, "temperature": 0.7},
    "beam": {"candidates": 4, "temperature": 0.7},
}
"""What each method cannot do without."""


def values(decoding: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {
        "input": {"path": "p"},
        "output": {"path": "out"},
        "models": MODELS,
        "decoding": decoding,
    } | sections


def made(decoding: dict[str, Any], *changes: str, **sections: Any) -> Config:
    return from_values(Config, values(decoding, **sections), list(changes), "job.yaml")


def told(decoding: dict[str, Any], *changes: str, **sections: Any) -> str:
    with pytest.raises(UserError) as caught:
        made(decoding, *changes, **sections)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def evaluation(*methods: dict[str, Any], **fields: Any) -> EvaluationConfig:
    given = {
        "benchmarks": [{"name": "words", "path": "p"}],
        "methods": list(methods),
        "output": {"path": "out"},
        "models": MODELS,
    }
    return from_values(EvaluationConfig, given | fields, [], "evaluation.yaml")
