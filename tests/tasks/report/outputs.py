"""Outputs as `generate`, `evaluate` and `calibrate` leave them, made of a few rows that a test names."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from schemas.tables import SOLUTIONS, STEPS
from tasks.calibration import directory
from tasks.configuration.parsing import parse_config
from tasks.generation.tables import counts
from tasks.output.directory import Identity, RunDirectory
from tasks.storage.store import Store

PARAMS = {"draft": 10.0, "target": 100.0, "prm": 20.0}
MODELS = {role: {"model": f"models/{role}"} for role in PARAMS}
Row = dict[str, Any]
ENDS = {"": 0.5, "_low": 0.25, "_high": 0.75}
"""A figure of a calibration and its interval."""


def solution(problem_id: str, marks: str = "dd", correct: bool | None = True, **others: Any) -> tuple[Row, list[Row]]:
    """A solution and its attempts. `marks`: a letter for each step, d(raft) or t(arget), which has a rejected attempt
    of the draft before it."""
    steps = []
    for number, mark in enumerate(marks):
        attempts = ["draft", "target"] if mark == "t" else ["draft"]
        for attempt, role in enumerate(attempts):
            accepted = attempt == len(attempts) - 1
            text = f"{problem_id} step {number} {'kept' if accepted else 'thrown away'}\n\n"
            reward = None if role == "target" else 0.9 if accepted else 0.1
            steps.append(
                {"step": number, "attempt": attempt, "role": role, "text": text, "accepted": accepted, "reward": reward}
                | {"tokens": 3, "token_ids": [1, 2, 3], "finish": "step", "prm_tokens": 4 if role == "draft" else 0}
            )
    key = {"problem_id": problem_id, "sample": others.get("sample", 0)}
    row = key | {
        "problem": f"What is {problem_id}?",
        "reference": None if correct is None else "7",
        "solution": "".join(step["text"] for step in steps if step["accepted"]),
        "answer": "7",
        "correct": correct,
        "status": "finished",
        "steps": len(marks),
        "draft_steps": marks.count("d"),
        "target_steps": marks.count("t"),
        "draft_tokens": 3 * len(marks),
        "draft_tokens_kept": 3 * marks.count("d"),
        "target_tokens": 3 * marks.count("t"),
        "prm_tokens": 4 * len(marks),
        "min_reward": 0.9,
        "picked": True,
        "verdict": {True: "correct", False: "wrong", None: None}[correct],
    }
    return row | others, [key | step for step in steps]


def table(rows: Iterable[Row], schema: pa.Schema) -> pa.Table:
    """What a row does not name is null, or nothing of its type."""
    nothing = {pa.string(): "", pa.bool_(): False}
    defaults = {f.name: None if f.nullable else nothing.get(f.type, 0) for f in schema}
    return pa.Table.from_pylist([{n: row.get(n, value) for n, value in defaults.items()} for row in rows], schema)


def write_run(
    store: Store,
    shards: Sequence[Sequence[tuple[Row, list[Row]]]],
    finished: bool = True,
    threshold: float = 0.7,
    method: str = "rsd",
    found: float | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    prompts: Mapping[str, list[str]] | None = None,
) -> None:
    """A run with these solutions in these shards. `found`: the threshold that it found by itself; `settings`: sections
    of its configuration; `prompts`: what its manifest has of them."""
    accept = {"threshold": threshold} if found is None else {"threshold": "auto", "target_share": 0.3}
    decoding = {"method": method} | ({"accept": accept} if method == "rsd" else {})
    config = {"input": {"path": "/p"}, "output": {"path": "/o"}, "models": MODELS, "decoding": decoding, **settings}
    text = yaml.safe_dump(config)
    store.write("config.yaml", text.encode())
    output, identity = RunDirectory(store), Identity.of(parse_config(text, [], "config.yaml"), {}, "1" * 64)
    usage = {role: {"requests": 1, "generated": 30, "prefilled": 40, "cached": 50} for role in PARAMS}
    total: Row = {}
    for number, rows in enumerate(shards):
        tables = {
            "solutions": table((row for row, _ in rows), SOLUTIONS),
            "steps": table((step for _, steps in rows for step in steps), STEPS),
        }
        of_shard = counts(tables["solutions"], tables["steps"], 0)
        total = {name: total.get(name, 0) + value for name, value in of_shard.items()}
        output.commit(number, identity, tables, of_shard, usage)
    if finished:
        role = {"starting": 1.0, "ready": 5.0, "busy": 3.0, "idle": 2.0, "in_flight": 4.0}
        session = {"session": "a", "host": "h", "pid": 1, "started": 0.0, "began": 0.0, "renewed": 3600.0}
        content = {
            "method": method,
            "samples": 1,
            "counts": total,
            "models": {name: {"model": name, "params": params} for name, params in PARAMS.items()},
            "accounts": {"roles": dict.fromkeys(PARAMS, role), "stages": {}},
            "sessions": [session | {"generated": {}, "ended": True, "accounts": {}}],
            "finished_at": "2026-01-02T03:04:05+00:00",
        }
        if prompts is not None:
            content["prompts"] = dict(prompts)
        if found is not None:
            store.write("calibration.json", b"{}\n")
            content["calibration"] = {"threshold": found, "target_share": 0.3, "problems": 2, "generated": {}}
        output.finish(identity, content)


def few(problems: int = 4, marks: str = "dtd") -> list[tuple[Row, list[Row]]]:
    """Solutions of levels 1 and 2, every fourth one wrong."""
    return [solution(f"p{n}", marks, n % 4 != 3, metadata=f'{{"level": {1 + n % 2}}}') for n in range(problems)]


def write_evaluation(
    store: Store, benchmarks: Sequence[str] = ("one", "two"), seeds_of: dict[str, int] | None = None, **changes: Any
) -> None:
    """Target, draft and rsd at two thresholds on benchmarks, with a table. `changes`: columns of every row."""
    from tasks.storage.subfolder import below

    methods = [("target", None), ("draft", None), ("rsd", 0.5), ("rsd", 0.9)]
    rows = []
    store.write("evaluation.yaml", b"{}\n")
    for benchmark in (*benchmarks, "mean"):
        for number, (method, threshold) in enumerate(methods):
            name = method if threshold is None else f"{method}-{threshold}"
            if benchmark != "mean":
                marks = {"target": "ttt", "draft": "ddd"}.get(method, "dtd")
                place = below(store, f"runs/{benchmark}/{name}-s0")
                write_run(place, [few(marks=marks)], threshold=threshold or 0.7, method=method)
            rows.append(
                {"benchmark": benchmark, "method": method, "kind": method, "threshold": threshold, "samples": 1}
                | {
                    "seeds": 1,
                    "problems": 4,
                    "accuracy": 0.5 + 0.1 * number,
                    "accuracy_low": 0.4,
                    "accuracy_high": 0.95,
                }
                | dict.fromkeys(("difference", "difference_low", "difference_high"), None if number == 0 else 0.1)
                | {"flops_generated": 1e9 * (4 - number), "flops_computed": 2e9 * (4 - number), "target_share": 0.3}
                | {"draft_tokens": 5.0, "target_tokens": 6.0, "prm_tokens": 7.0, "seconds": 1800.0}
                | {"problems_per_second": 2.0}
                | ({"seeds": seeds_of[method]} if seeds_of else {})
                | changes
            )
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    store.write("table.parquet", sink.getvalue())


def write_calibration(store: Store, chosen: float = 0.9) -> None:
    """Two thresholds, of which one is recommended."""
    from tasks.storage.subfolder import below

    names = ("accuracy", "target_share", "flops", "draft_tokens", "target_tokens", "prm_tokens")
    found = [
        {"threshold": threshold} | {f"{name}{end}": size for name in names for end, size in ENDS.items()}
        for threshold in (0.5, 0.9)
    ]
    wish = {"kind": "target_share", "value": 0.3}
    rest = {"problems": 4, "tokens": {"generated": {}}, "computed": {}, "recommendation": {"threshold": chosen}}
    store.write("calibration.json", directory.sealed({"wish": wish, "thresholds": found, **rest}))
    for threshold in (0.5, 0.9):
        write_run(below(store, f"runs/threshold-{threshold}"), [few()], threshold=threshold)
    store.write("recommended.yaml", yaml.safe_dump({"decoding": {"accept": {"threshold": chosen}}}).encode())
