"""Outputs that lie where problems are read."""

from __future__ import annotations

import re

from fsspec.utils import glob_translate

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.errors import UserError
from tasks.problems.files import list_files
from tasks.storage.store import Say
from tasks.storage.stores import Stores

TABLES = ("solutions/00000.parquet", "runs/benchmark/method-s0/solutions/00000.parquet")
"""Files that outputs will hold, of runs and of evaluations."""


def keep_apart(config: Config | EvaluationConfig, problems: str, field: str, say: Say | None) -> None:
    """Raises UserError if the next run would read the output's tables as problems. `field`: the one that names the
    problems."""
    output = config.output.path
    inside = output.rstrip("/") + "/"
    if inside.startswith(problems.rstrip("/") + "/"):
        raise UserError(f"output.path: {output} lies in {field}, whose files are all read as problems")
    files = list_files(problems, Stores.of(config, say), field=field)
    if any(file.startswith(inside) for file in files) or any(_matches(problems, inside + table) for table in TABLES):
        raise UserError(f"output.path: {output} holds, or will hold, files that {field} reads as problems")


def _matches(pattern: str, path: str) -> bool:
    return any(c in pattern for c in "*?[") and re.match(glob_translate(pattern), path) is not None
