"""A survey kept in a run's output, so that processes that share its shards need not each read the whole input."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from pydantic import ConfigDict, Strict, TypeAdapter
from typing_extensions import TypedDict

from schemas.config import Config, InputConfig
from tasks.problems.files import list_files
from tasks.problems.parquet.pages import Group
from tasks.problems.snapshot import InputFile, open_listed
from tasks.problems.survey import Longest, Survey
from tasks.storage.inputs import version
from tasks.storage.sealed import FORMAT, packed, seal, unpacked, unseal
from tasks.storage.store import LONGEST, Say, Store
from tasks.storage.stores import Stores

KEY = "checkpoints/survey.json"
STRICT = ConfigDict(strict=True)
MOST_ROWS = 1 << 30
"""Rows of an input whose survey is taken over: a byte of memory for each, whatever it says they are packed in."""
Count = Annotated[int, Ge(0), Le(1 << 62)]
AtOnce = Annotated[int, Ge(1), Le(1 << 62)]
Leaf = Annotated[tuple[str, str], Strict(False)]  # JSON has lists
Layout = list[Annotated[tuple[AtOnce, list[Leaf], AtOnce], Strict(False)]]


class _File(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    path: str
    rows: Count
    sha256: str
    version: str
    layout: Layout
    folders: dict[str, str | Annotated[int, Ge(-1 << 62), Le(1 << 62)] | None]


class _Longest(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    bytes: Count
    steps: Count
    tokens: dict[str, Count]


class _Survey(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    made_for: str
    files: list[_File]
    rows: Annotated[int, Ge(0), Le(MOST_ROWS)]
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
    sealed = seal(content)
    if len(sealed) <= LONGEST[".json"]:  # of very many files each process makes its own
        store.write(KEY, sealed)


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
