"""The first look at an output: is there anything to do? Asked before Prefect is imported, which takes seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from schemas.config import Config
from tasks import report
from tasks.generation.finished import finished
from tasks.output.directory import RunDirectory
from tasks.storage.stores import Stores

NOTHING_TO_DO = "this run is complete: nothing to do"
LARGEST = 1 << 20
"""Bytes that are read of a file of Prefect's settings."""


def complete(config: Config, say: Callable[[str], None], retry_failed: bool = False) -> dict[str, Any] | None:
    """The manifest of a complete run that needs nothing more, once it has a report. None if something may be left to
    do, or if a Prefect server may record this run. Raises UserError as `solve` of flows/generate.py does."""
    if config.run.workers is not None or _may_be_recorded():
        return None
    output = RunDirectory(Stores.of(config, say).store(config.output.path))
    output.check_same(config)
    manifest = finished(output.dated(config), output, retry_failed)
    if manifest is not None:
        say(NOTHING_TO_DO)
        report.keep(output.store, say)
    return manifest


def _may_be_recorded() -> bool:
    """True if anything that Prefect reads its settings from may name a server. Prefect itself has the last word."""
    home = os.path.expanduser(os.environ.get("PREFECT_HOME") or "~/.prefect")
    profiles = os.environ.get("PREFECT_PROFILES_PATH") or os.path.join(home, "profiles.toml")
    return (
        "PREFECT_API_URL" in map(str.upper, os.environ)
        or any(_names(path, b"prefect_api_url") for path in (os.path.expanduser(profiles), ".env"))
        or _names("pyproject.toml", b"tool.prefect")
        or os.path.exists("prefect.toml")
    )


def _names(path: str, name: bytes) -> bool:
    """True if a file holds a name (bytes in lower case). A file that cannot be read may hold it."""
    try:
        with open(path, "rb") as f:
            content = f.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return len(content) > LARGEST or name in content.lower()
