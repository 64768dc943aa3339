"""Small runs with solutions that a test names, and the datasets made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from report.outputs import Row, table

from flows.export import export
from schemas.export import ExportOptions
from schemas.tables import SOLUTIONS, STEPS
from tasks.configuration.parsing import parse_config
from tasks.output.directory import Identity, RunDirectory
from tasks.storage.store import Store
from tasks.storage.stores import Stores

Solution = tuple[Row, list[Row]]
MODELS = {role: {"model": f"/models/{role}"} for role in ("draft", "target", "prm")}


def attempt(role: str, text: str, reward: float | None, accepted: bool = True, **others: Any) -> Row:
    row = {"role": role, "text": text, "reward": reward, "accepted": accepted}
    return row | {"tokens": len(text.split()), "token_ids": []} | others


def draft(text: str, reward: float = 0.9) -> list[Row]:
    """A step of the draft that was kept."""
    return [attempt("draft", text, reward)]


def redone(text: str, bad: str, reward: float = 0.1, scored: float | None = None) -> list[Row]:
    """A step of the draft that was rejected, and the target's in its place."""
    return [attempt("draft", bad, reward, accepted=False), attempt("target", text, scored)]


def solved(problem_id: str, *steps: list[Row], correct: bool | None = True, sample: int = 0, **others: Any) -> Solution:
    """A solution of these steps, each of which is its attempts."""
    key = {"problem_id": problem_id, "sample": sample}
    attempts = [
        key | {"step": n, "attempt": k, "finish": "step"} | each
        for n, of in enumerate(steps)
        for k, each in enumerate(of)
    ]
    accepted = [each for each in attempts if each["accepted"]]
    rewards = [each["reward"] for each in accepted if each["reward"] is not None]
    row = key | {
        "problem": f"What is the value of {problem_id}?",
        "solution": "".join(each["text"] for each in accepted),
        "correct": correct,
        "status": "finished",
        "steps": len(steps),
        "draft_steps": sum(each["role"] == "draft" for each in accepted),
        "min_reward": min(rewards, default=None),
        "last_reward": rewards[-1] if rewards else None,
        "picked": True,
    }
    return row | others, attempts


def write_run(
    place: Store | Path | str, shards: Sequence[Sequence[Solution]], finished: bool = True, run: int = 0, **changes: Any
) -> str:
    """A run whose shards hold these solutions, in the place of one that is there; returns its address. `run`: another
    number makes another run."""
    store = place if isinstance(place, Store) else Store(str(place))
    for folder in ("shards", "solutions", "steps"):
        store.delete(store.keys(folder))
    config = {"input": {"path": "/p"}, "output": {"path": "/o"}, "models": MODELS} | changes
    text = yaml.safe_dump(config)
    store.write("config.yaml", text.encode())
    output, identity = RunDirectory(store), Identity.of(parse_config(text, [], "config.yaml"), {}, f"{run:064d}")
    same = {"run_id": identity.run_id}
    for number, rows in enumerate(shards):
        tables = {
            "solutions": table((row | same | {"shard": number} for row, _ in rows), SOLUTIONS),
            "steps": table((step | same | {"shard": number} for _, steps in rows for step in steps), STEPS),
        }
        scored = len(tables["steps"]) - tables["steps"]["reward"].null_count
        output.commit(number, identity, tables, {"failed": 0, "scored": scored}, {})
    if finished:
        output.finish(identity, {"shards": len(shards), "finished_at": "2026-01-02T03:04:05+00:00"})
    return store.path()


ASKS_NOTHING = {"step-dpo": {"unscored": "keep", "margin": -1.0}, "prm": {"unscored": "drop"}}
"""Kind to options by which it needs no PRM."""


def made(kind: str, outs: str | list[str], dest: Path | str, **options: Any) -> list[dict[str, Any]]:
    """The rows of an export, in the order of the runs' problems and samples. All are train, and nothing is asked of a
    PRM, unless asked otherwise."""
    outs = [outs] if isinstance(outs, str) else outs
    usual = {"splits": "none"} | ({} if "labels" in options else ASKS_NOTHING.get(kind, {}))
    export(kind, outs, str(dest), ExportOptions(**(usual | options)), Stores())
    return rows(dest)


def rows(dest: Path | str, split: str = "*") -> list[dict[str, Any]]:
    found = pl.read_parquet(f"{dest}/data/{split}-*.parquet")
    order = [name for name in ("problem_id", "sample", "step", "attempt") if name in found.columns]
    return found.sort(order).to_dicts()
