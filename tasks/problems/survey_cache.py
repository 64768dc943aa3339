"""A survey kept in a run's output, so that processes that share its shards need not each read the whole input."""

from __future__ import annotations

import base64
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np

from schemas.config import Config, InputConfig
from tasks.problems.files import list_files
from tasks.problems.parquet.pages import Group
from tasks.problems.snapshot import InputFile, open_listed
from tasks.problems.survey import Longest, Survey
from tasks.storage.inputs import version
from tasks.storage.sealed import FORMAT, seal, unseal
from tasks.storage.store import Say, Store
from tasks.storage.stores import Stores

KEY = "checkpoints/survey.json"


def keep(store: Store, found: Survey, made_for: str) -> None:
    """Keep a survey. `made_for`: `plan.survey_key` of the configuration that it was made for."""
    files = [
        {"path": f.path, "rows": f.rows, "sha256": f.sha256, "version": f.version}
        | {"layout": f.layout, "folders": f.folders}
        for f in found.files
    ]
    verdicts = base64.b64encode(zlib.compress(found.verdicts.tobytes())).decode()
    content = {"format": FORMAT, "made_for": made_for, "files": files, "rows": found.rows, "verdicts": verdicts}
    content["input"] = found.config.model_dump()
    content["longest"] = found.longest and asdict(found.longest)
    store.write(KEY, seal(content))


def load(store: Store, made_for: str) -> Survey | None:
    """The survey that was kept; None where there is none, or a damaged one, or another configuration's."""
    kept: dict[str, Any] | None = unseal(store.read_or_none(KEY))
    if kept is None or kept["made_for"] != made_for or "input" not in kept:  # that of an older release knows less
        return None
    files = [
        InputFile(f["path"], f["rows"], f["sha256"], f["version"], _layout(f["layout"]), f["folders"])
        for f in kept["files"]
    ]
    verdicts = np.frombuffer(zlib.decompress(base64.b64decode(kept["verdicts"])), np.uint8)
    longest = Longest(**kept["longest"]) if kept.get("longest") else None
    return Survey(files, kept["rows"], verdicts, InputConfig.model_validate(kept["input"]), longest=longest)


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
