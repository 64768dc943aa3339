"""Configuration files: a user's, or one that an output keeps, which may have been moved."""

from __future__ import annotations

import os

from schemas.config import Config
from schemas.credentials import MEND, holds_credentials
from schemas.evaluation import EvaluationConfig
from tasks.configuration.parsing import from_values, log
from tasks.configuration.placeholders import C, Due
from tasks.configuration.yaml_text import read_yaml
from tasks.errors import UserError
from tasks.storage.store import Store
from tasks.storage.stores import Stores

LARGEST = 1 << 20
"""Bytes of a configuration file."""


def load_config(path: str, changes: list[str]) -> Config:
    """The configuration of a run; see `load`."""
    return load(Config, path, changes)


def load(kind: type[C], path: str, changes: list[str], due: Due | None = None) -> C:
    """The configuration in a YAML file (local or s3://) with `dotted.key=value` changes, paths made absolute. `due`:
    what placeholders are filled from; without it they are refused."""
    text = _text(path)
    values = read_yaml(text, path)
    config = from_values(kind, values, changes, path, due, stored=True)
    if any(change.startswith("output") for change in changes) or (own := _output_of(config, path, text)) is None:
        return from_values(kind, values, changes, path, due)
    # an output's own is not judged: it is held against its run, and what was changed in it is named
    if config.output.path.rstrip("/") == own:
        return config
    log.warning("%s: was moved or copied here from %s, and goes on here", own, config.output.path)
    return config.model_copy(update={"output": config.output.model_copy(update={"path": own})})


def load_either(path: str, changes: list[str]) -> Config | EvaluationConfig:
    """The configuration of a run or of an evaluation, whichever the file holds. Otherwise as `load`."""
    values = read_yaml(_text(path), path)
    evaluation = isinstance(values, dict) and "benchmarks" in values and "input" not in values
    return load(EvaluationConfig, path, changes) if evaluation else load(Config, path, changes)


def _text(path: str) -> str:
    if not path:
        raise UserError("the configuration file's name is empty")
    if holds_credentials(path):
        raise UserError(f"the configuration file's name holds credentials; {MEND}")
    try:
        with Stores().open_input(path) as f:
            content = f.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, not a configuration file") from None
    if len(content) > LARGEST:
        raise UserError(f"{path}: larger than {LARGEST >> 20} MiB, which no configuration file is")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _output_of(config: C, path: str, text: str) -> str | None:
    """The path now of the output that a configuration file is a part of: it may have been moved or copied."""
    folder, _, name = (path if "://" in path else os.path.abspath(os.path.expanduser(path))).rpartition("/")
    if name not in ("config.yaml", "evaluation.yaml"):
        return None
    return folder if _is_output(Stores.of(config).store(folder), name, text) else None


def _is_output(folder: Store, name: str, text: str) -> bool:
    """Is a configuration file an output's own?"""
    if name == "evaluation.yaml":
        from tasks.output.kinds import HEADER

        return text.startswith(HEADER.decode())
    if name == "config.yaml":
        from tasks.output.directory import RunDirectory

        return RunDirectory(folder).begun()
    return False
