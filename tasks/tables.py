"""Trajectories to table rows, and back."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.tables import REJECTED, SOLUTIONS, STEPS
from tasks.decoding.trajectory import Attempt, Trajectory
from tasks.grading import Grade
from tasks.problems import Problem, Rejected

STORED = [f.name for f in dataclasses.fields(Attempt) if f.name != "read_as"]
"""Fields of an attempt that are columns of the steps table."""


def steps_table(
    run_id: str, shard: int, trajectories: Iterable[Trajectory], kept: Mapping[Trajectory, int] | None = None
) -> pa.Table:
    """One row per attempt of each trajectory, in order; without the first `kept[trajectory]` of them."""
    columns: dict[str, list[Any]] = {name: [] for name in STEPS.names}
    put = {name: column.append for name, column in columns.items()}
    skipped = kept or {}
    rows = (
        (t, a, wave)
        for t in trajectories
        for a, wave in islice(zip(t.attempts, t.waves, strict=True), skipped.get(t, 0), None)
    )
    for t, a, wave in rows:
        put["run_id"](run_id)
        put["shard"](shard)
        put["problem_id"](t.problem_id)
        put["sample"](t.sample)
        put["step"](a.step)
        put["attempt"](a.attempt)
        put["role"](a.role)
        put["text"](a.text)
        put["token_ids"](a.token_ids)
        put["tokens"](len(a.token_ids))
        put["reward"](a.reward)
        put["threshold"](a.threshold)
        put["probability"](a.probability)
        put["accepted"](a.accepted)
        put["finish"](a.finish)
        put["wave"](wave)
        put["seed"](a.seed)
        put["prm_tokens"](a.prm_tokens)
    return pa.table(columns, schema=STEPS)


def retake(trajectories: Iterable[Trajectory], rows: list[dict[str, Any]]) -> int:
    """Let trajectories take the steps of a steps table's rows again; returns the first wave after them.

    Steps after a gap, or not whole, are left out: they will be written again.
    """
    found: dict[tuple[str, int], dict[int, dict[int, dict[int, dict[str, Any]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for row in rows:
        found[row["problem_id"], row["sample"]][row["step"]][row["wave"]][row["attempt"]] = row
    for t in trajectories:
        steps = found.get((t.problem_id, t.sample), {})
        wave = -1
        while waves := {w: step for w, step in steps.get(len(t.steps), {}).items() if w > wave}:
            wave = max(waves)  # a step that was written twice counts as it was last
            attempts = waves[wave]
            step = [_attempt(attempts[i]) for i in range(len(attempts)) if i in attempts]
            if len(step) < len(attempts) or [a.accepted for a in step] != [False] * (len(step) - 1) + [True]:
                break
            t.take(step, wave)
    return max((row["wave"] + 1 for row in rows), default=0)


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(**{name: row[name] for name in STORED})


def solutions_table(
    run_id: str,
    shard: int,
    problems: dict[str, Problem],
    trajectories: list[Trajectory],
    grades: list[Grade],
    params: dict[str, float],
) -> pa.Table:
    """One row per trajectory. `params`: role to parameters."""
    columns: dict[str, list[Any]] = {name: [] for name in SOLUTIONS.names}
    for t, grade in zip(trajectories, grades, strict=True):
        problem = problems[t.problem_id]
        rewards = [a.reward for a in t.steps if a.reward is not None]
        tokens = {"draft": 0, "target": 0}
        for a in t.attempts:
            tokens[a.role] += len(a.token_ids)
        prm_tokens = sum(a.prm_tokens for a in t.attempts)
        row = {
            "run_id": run_id,
            "shard": shard,
            "problem_id": t.problem_id,
            "sample": t.sample,
            "problem": problem.text,
            "reference": problem.reference,
            "solution": "".join(a.text for a in t.steps),
            "answer": grade.answer,
            "correct": grade.correct,
            "status": t.status,
            "error": t.error,
            "steps": len(t.steps),
            "draft_steps": sum(a.role == "draft" for a in t.steps),
            "target_steps": sum(a.role == "target" for a in t.steps),
            "draft_tokens": tokens["draft"],
            "draft_tokens_kept": sum(len(a.token_ids) for a in t.steps if a.role == "draft"),
            "target_tokens": tokens["target"],
            "prm_tokens": prm_tokens,
            "min_reward": min(rewards, default=None),
            "last_reward": rewards[-1] if rewards else None,
            "flops": 2 * sum(params.get(r, 0) * n for r, n in (*tokens.items(), ("prm", prm_tokens))),
            "metadata": problem.metadata,
        }
        for name, value in row.items():
            columns[name].append(value)
    return pa.table(columns, schema=SOLUTIONS)


def rejected_table(run_id: str, shard: int, rejected: list[Rejected]) -> pa.Table:
    rows = [{"run_id": run_id, "shard": shard} | {n: getattr(r, n) for n in REJECTED.names[2:]} for r in rejected]
    return pa.Table.from_pylist(rows, schema=REJECTED)


def counts(solutions: pa.Table, steps: pa.Table, rejected: int) -> dict[str, Any]:
    """A shard's totals, which add up over shards."""
    found: dict[str, Any] = {"solutions": len(solutions), "rejected": rejected}
    for status in ("finished", "max_tokens", "max_steps", "failed"):
        found[status] = _number(solutions["status"].to_numpy(zero_copy_only=False) == status)
    correct = solutions["correct"].to_pylist()
    found["with_reference"] = len(solutions) - solutions["reference"].null_count
    found["graded"] = len(correct) - solutions["correct"].null_count
    found["correct"] = sum(verdict is True for verdict in correct)
    for name in (
        "steps",
        "draft_steps",
        "target_steps",
        "draft_tokens",
        "draft_tokens_kept",
        "target_tokens",
        "prm_tokens",
    ):
        found[name] = _number(solutions[name].to_numpy())
    found["flops"] = float(np.sum(solutions["flops"].to_numpy()))
    found["attempts"] = len(steps)
    found["scored"] = len(steps) - steps["reward"].null_count
    found["reward_sum"] = float(np.nansum(steps["reward"].to_numpy(zero_copy_only=False).astype(float)))
    return found


def _number(values: np.ndarray) -> int:
    return int(np.sum(values))
