"""Prompts of the first problems as models read them: made of the very ids that engines get."""

from __future__ import annotations

from itertools import islice
from typing import Any

from tasks.decoding.trajectory import Ids
from tasks.models.tokenizer import PROBE
from tasks.planning.plan import Plan
from tasks.problems.reader import Problem, shards
from tasks.storage.stores import Stores


def shown(plan: Plan, stores: Stores, count: int) -> list[dict[str, Any]]:
    """Of the first `count` usable problems the id, and by role its prompt up to where the answer starts; of a PRM also
    how it would read a step."""
    read = shards(plan.survey, stores, plan.config.run.shard_size, lambda _: True)
    problems = list(islice((problem for _, some, _ in read for problem in some), count))
    prompts = plan.prompts(problems)
    return [
        {
            "problem_id": problem.problem_id,
            "roles": {role: _read(plan, role, ids[n]) for role, ids in prompts.items()},
        }
        | ({"step": _step(plan, problem)} if plan.format else {})
        for n, problem in enumerate(problems)
    ]


def _read(plan: Plan, role: str, ids: Ids) -> dict[str, Any]:
    return {"text": plan.roles[role].vocabulary.as_read(ids), "tokens": len(ids)}


def _step(plan: Plan, problem: Problem) -> dict[str, Any]:
    """What the PRM reads after the prompt, to judge an example of a step."""
    assert plan.format is not None
    step = PROBE + plan.config.prompt.separator
    [ids] = plan.format.encode_steps([step], [len(plan.begun(problem))])
    return {"step": step, **_read(plan, "prm", ids + plan.format.tail)}
