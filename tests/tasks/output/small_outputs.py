"""Outputs of three shards, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas.config import Config
from schemas.tables import STEPS
from tasks.errors import UserError
from tasks.output.directory import Identity, RunDirectory
from tasks.storage.store import Store

USAGE = {"draft": {"requests": 1, "generated": 2, "prefilled": 3, "cached": 4}}

SIZE = {"shards": 3, "solutions": 9}


def again(output: RunDirectory) -> RunDirectory:
    """The same output as another process sees it."""
    return RunDirectory(Store(output.store.root))


def folder(output: RunDirectory) -> Path:
    return Path(output.store.root)


def rows(n: int) -> pa.Table:
    return pa.table({"x": list(range(n))})


def attempts(*problems: str) -> pa.Table:
    values = {name: [None] * len(problems) for name in STEPS.names} | {
        "problem_id": list(problems),
        **dict.fromkeys(("run_id", "role", "text"), ["x"] * len(problems)),
        **dict.fromkeys(("shard", "sample", "step", "attempt", "tokens", "wave", "seed"), [0] * len(problems)),
        **dict.fromkeys(("prm_tokens", "proposed"), [0] * len(problems)),
        "token_ids": [[1, 2]] * len(problems),
        "accepted": [True] * len(problems),
        "finish": ["step"] * len(problems),
    }
    return pa.table(values, schema=STEPS)


def commit(output: RunDirectory, config: Config, *shards: int, failed: int = 0) -> Identity:
    identity = output.begin(config, "input", SIZE)
    for shard in shards:
        output.store.delete([f"shards/{shard:05d}.json"])  # as where it is to be made again
        tables = {"solutions": rows(3), "steps": attempts("p", "q")}
        output.commit(shard, identity, tables, {"solutions": 3, "failed": failed}, USAGE)
    return identity


def content(output: RunDirectory) -> dict[str, bytes]:
    return {key: output.store.read(key) for key in output.store.keys("")}


def mistake(act: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)
