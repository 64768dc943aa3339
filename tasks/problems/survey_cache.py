"""A survey kept in a run's output, so that processes that share its shards need not each read the whole input."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from schemas.config import Config, InputConfig
from tasks.problems.files import list_files
from tasks.problems.parquet.pages import Group
from tasks.problems.snapshot import InputFile, open_listed
from tasks.problems.survey import Longest, Survey
from tasks.storage.inputs import version
from tasks.storage.sealed import FORMAT, packed, seal, unpacked, unseal
from tasks.storage.store import Say, Store
from tasks.storage.stores import Stores

KEY = "checkpoints/survey.json"
Layout = list[tuple[Annotated[int, Ge(1)], list[tuple[str, str]], Annotated[int, Ge(1)]]]


class _File(TypedDict):
    path: str
    rows: Annotated[int, Ge(0)]
    sha256: str
    version: str
    layout: Layout
    folders: dict[str, str | int | None]


class _Longest(TypedDict):
    bytes: int
    steps: int
    tokens: dict[str, int]


class _Survey(TypedDict):
    made_for: str
    files: list[_File]
    rows: Annotated[int, Ge(0)]
    verdicts: str
    input: dict[str, Any]
    longest: _Longest | None


SHAPE = TypeAdapter(_Survey)


def keep(store: Store, found: Survey, made_for: str) -> None:
    """Keep a survey. `made_for`: `plan.survey_key` of the configuration that it was made for."""
    files = [
        {"path": f.path, "rows": f.rows, "sha256": f.sha256, "version": f.version}
        | {"layout": f.layout, "folders": f.folders}
        for f in found.files
    ]
    verdicts = packed(found.verdicts.tobytes())
    content = {"format": FORMAT, "made_for": made_for, "files": files, "rows": found.rows, "verdicts": verdicts}
    content["input"] = found.config.model_dump()
    content["longest"] = found.longest and asdict(found.longest)
    store.write(KEY, seal(content))


def load(store: Store, made_for: str) -> Survey | None:
    """The survey that was kept; None where there is none, or a damaged one, or another configuration's."""
    kept = unseal(store.read_or_none(KEY), SHAPE)
    if kept is None or kept["made_for"] != made_for:
        return None
    files = [
        InputFile(f["path"], f["rows"], f["sha256"], f["version"], _layout(f["layout"]), f["folders"])
        for f in kept["files"]
    ]
    try:
        verdicts = np.frombuffer(unpacked(kept["verdicts"], kept["rows"]), np.uint8)
        longest = Longest(**kept["longest"]) if kept.get("longest") else None
        return Survey(files, kept["rows"], verdicts, InputConfig.model_validate(kept["input"]), longest=longest)
    except ValueError:
        return None


def _layout(groups: list[Any]) -> tuple[Group, ...]:
    return tuple(Group(rows, tuple((name, leaf) for name, leaf in kept), at_once) for rows, kept, at_once in groups)


def still_holds(found: Survey, config: Config, say: Say | None) -> bool:
    """True if the input is unchanged, by the files' names and versions alone."""
    stores = Stores.of(config, say)
    names = list_files(config.input.path, stores)
    if names[: len(found.files)] != [file.path for file in found.files]:
        return False
    if len(names) > len(found.files) and found.rows != config.input.limit:
        return False
    for file in found.files:
        with open_listed(file.path, stores) as f:
            if not file.version or version(f) != file.version:
                return False
    return True
