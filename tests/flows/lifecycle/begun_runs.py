"""Runs that were begun, and commands that would go on with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from replaced import copied, template_of, write_template

from schemas.config import Config
from schemas.export import ExportOptions
from tasks.errors import UserError
from tasks.generation.completion import open_run
from tasks.output.directory import RunDirectory
from tasks.planning.plan import make_plan
from tasks.storage.store import Store
from tasks.storage.stores import Stores

DATED = "{{ strftime_now('%d %b %Y') }} "


def mistake(act: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def solved(out: Path) -> pl.DataFrame:
    columns = ["run_id", "problem_id", "sample", "solution"]
    return pl.read_parquet(out / "solutions" / "*.parquet", columns=columns).sort(columns)


ORIGINALS: dict[str, Path] = {}
"""State to a run of `job()` in it, which tests copy: where an output lies is no part of its run."""


def go_on(config: Config) -> Any:
    """What `generate` does before it starts engines."""
    output = RunDirectory(Store(config.output.path))
    output.check_same(config)
    return open_run(make_plan(output.dated(config)), output, retry_failed=False)


def is_refused(out: Path, told: str, *acts: Callable[[], Any]) -> None:
    """Each says why, and leaves the output as it was."""
    before = content(out)
    for act in acts:
        message = mistake(act)
        assert told in message
        assert str(out) in message
    assert content(out) == before


STATES = pytest.mark.parametrize("state", ["stopped", "complete"])


def export(out: Path, dest: Path) -> Any:
    from flows.export import export

    return export("prm", [str(out)], str(dest), ExportOptions(unscored="drop"), Stores())


def dated(folder: Path, *roles: str, template: str = DATED) -> list[str]:
    changes = copied(folder)
    for role in roles:
        write_template(folder / role, template + template_of(folder / role))
    return changes
