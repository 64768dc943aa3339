"""Trajectories to table rows, and back."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.tables import REJECTED, SOLUTIONS, STEPS, TOKEN_IDS
from tasks.decoding.trajectory import Attempt, Ids, Trajectory
from tasks.generation.answers import Choice
from tasks.grading import GRADER, Grade
from tasks.problems.reader import Problem, Rejected


def steps_table(
    run_id: str,
    shard: int,
    trajectories: Iterable[Trajectory],
    spans: Mapping[Trajectory, tuple[int, int]] | None = None,
) -> pa.Table:
    """One row per attempt of each trajectory, in order. `spans`: trajectory to the first of its attempts that are
    wanted, and the one after the last (null: all)."""
    owners: list[Trajectory] = []
    attempts: list[Attempt] = []
    waves: list[int] = []
    for t in trajectories:
        start, stop = spans[t] if spans else (0, len(t.attempts))
        attempts += t.attempts[start:stop]
        waves += t.waves[start:stop]
        owners += [t] * (len(attempts) - len(owners))
    token_ids = _lists([a.token_ids for a in attempts])
    columns: dict[str, Any] = {
        "run_id": pa.repeat(run_id, len(attempts)),
        "shard": pa.repeat(pa.scalar(shard, pa.int32()), len(attempts)),
        "problem_id": [t.problem_id for t in owners],
        "sample": [t.sample for t in owners],
        "token_ids": token_ids,
        "tokens": token_ids.value_lengths(),
        "wave": waves,
    }
    for name in STEPS.names:
        if name not in columns:
            columns[name] = list(map(attrgetter(name), attempts))
    return pa.table(columns, STEPS)


def _lists(steps: list[Ids]) -> pa.ListArray:
    """A column of token ids, made of one flat array."""
    flat, ends = array("i"), array("i", [0])
    for ids in steps:
        flat.extend(ids)
        ends.append(len(flat))
    values = pa.Array.from_buffers(pa.int32(), len(flat), [None, pa.py_buffer(flat)])
    return pa.ListArray.from_buffers(TOKEN_IDS, len(steps), [None, pa.py_buffer(ends)], children=[values])


def solutions_table(
    run_id: str,
    shard: int,
    problems: dict[str, Problem],
    trajectories: list[Trajectory],
    grades: list[Grade],
    params: dict[str, float],
    choice: Choice | None = None,
) -> pa.Table:
    """One row per trajectory. `params`: role to parameters. `choice`: what is picked of them (null: all)."""
    choice = choice or Choice.all_of(trajectories)
    rows: list[dict[str, Any]] = []
    for t, grade, picked, score in zip(trajectories, grades, choice.picked, choice.scores, strict=True):
        problem = problems[t.problem_id]
        tokens, prm_tokens = {"draft": 0, "target": 0}, 0
        for a in t.attempts:
            tokens[a.role] += len(a.token_ids)
            tokens["draft"] += a.proposed
            prm_tokens += a.prm_tokens
        from_draft = [a for a in t.steps if a.role == "draft"]
        rewards = [a.reward for a in t.steps if a.reward is not None]
        row = {
            "run_id": run_id,
            "shard": shard,
            "problem_id": t.problem_id,
            "sample": t.sample,
            "problem": problem.text,
            "reference": problem.reference,
            "solution": "".join([a.text for a in t.steps]),
            "answer": grade.answer,
            "correct": grade.correct,
            "picked": picked,
            "score": score,
            "verdict": grade.verdict,
            "grader": GRADER,
            "status": t.status,
            "error": t.error,
            "steps": len(t.steps),
            "draft_steps": len(from_draft),
            "target_steps": len(t.steps) - len(from_draft),
            "draft_tokens": tokens["draft"],
            "draft_tokens_kept": sum([len(a.token_ids) for a in from_draft]),
            "target_tokens": tokens["target"],
            "prm_tokens": prm_tokens,
            "min_reward": min(rewards, default=None),
            "last_reward": rewards[-1] if rewards else None,
            "flops": 2 * sum(params.get(r, 0) * n for r, n in (*tokens.items(), ("prm", prm_tokens))),
            "metadata": problem.metadata,
        }
        rows.append(row)
    return pa.table({name: [row[name] for row in rows] for name in SOLUTIONS.names}, SOLUTIONS)


def rejected_table(run_id: str, shard: int, rejected: list[Rejected]) -> pa.Table:
    """Rows that could not be used, as the table REJECTED."""
    rows = [{"run_id": run_id, "shard": shard} | {n: getattr(r, n) for n in REJECTED.names[2:]} for r in rejected]
    return pa.Table.from_pylist(rows, schema=REJECTED)


def counts(solutions: pa.Table, steps: pa.Table, rejected: int) -> dict[str, Any]:
    """A shard's totals, which add up over shards."""
    found: dict[str, Any] = {"solutions": len(solutions), "rejected": rejected}
    for status in ("finished", "max_tokens", "max_steps", "failed"):
        found[status] = _number(solutions["status"].to_numpy(zero_copy_only=False) == status)
    found["with_reference"] = len(solutions) - solutions["reference"].null_count
    found["graded"] = len(solutions) - solutions["correct"].null_count
    verdicts = solutions["verdict"].to_pylist()
    for name, verdict in (("correct", "correct"), ("unparsed", "unparsed"), ("timeouts", "timeout")):
        found[name] = verdicts.count(verdict)
    found["bad_references"] = found["with_reference"] - (len(verdicts) - verdicts.count(None))
    picked = solutions.filter(solutions["picked"])
    found["picked"] = len(picked)
    found["picked_gradable"] = len(picked) - picked["verdict"].null_count
    found["picked_correct"] = sum(verdict is True for verdict in picked["correct"].to_pylist())
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
    found["reward_sum"] = float(np.sum(steps["reward"].drop_null().to_numpy().astype(float)))
    return found


def _number(values: np.ndarray) -> int:
    return int(np.sum(values))
