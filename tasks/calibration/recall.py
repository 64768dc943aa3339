"""Attempts and rewards that earlier runs have made, off their steps tables and checkpoints."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from schemas.config import Config
from tasks.configuration.identity import settings
from tasks.configuration.parsing import parse_config
from tasks.decoding.replay import replay
from tasks.decoding.sweep import Memory
from tasks.decoding.trajectory import Trajectory
from tasks.errors import UserError
from tasks.output.directory import RunDirectory
from tasks.output.reading import committed_tables
from tasks.planning.plan import Plan

FREE = ("decoding.accept.", "run.shard_size", "input.limit", "input.skip_done")
"""What may differ between runs whose attempts are the same where their paths are."""


def recall(memory: Memory, output: RunDirectory, plan: Plan) -> int:
    """Let a memory learn what a run has made of the plan's problems; returns the attempts that were new to it.

    A run of other models, prompts, sampling or problems has nothing to say, nor has one that cannot be read.
    """
    known = output.store.read_or_none("config.yaml")
    if known is None:
        return 0
    try:
        config = parse_config(known.decode("utf-8", "replace"), [], "config.yaml")
    except UserError:
        return 0
    if not (_alike(config, plan.config) and _same_input(output, plan)):
        return 0
    before = len(memory)
    rows: list[dict[str, Any]] = []
    found = output.records()
    try:
        output.check_whole(found, plan.models)
    except UserError:
        return 0
    if not _tells(output, plan):
        return 0
    records = found.good
    last = (plan.survey.rows - 1) // config.run.shard_size
    committed = {shard: record for shard, record in records.items() if shard <= last}
    for _, (steps,) in committed_tables(output, committed, {"steps": None}):
        rows += steps.table.to_pylist()
    run_id = (output.run() or {}).get("run_id")
    for shard in range(last + 1):
        if run_id and shard not in records:
            rows += [row for row in output.load_steps(shard)[0] if row["run_id"] == run_id]
    of_sample = defaultdict(list)
    for row in rows:
        of_sample[row["problem_id"], row["sample"]].append(row)
    trajectories = [Trajectory(problem_id, sample, {}) for problem_id, sample in of_sample]
    replay(trajectories, rows)
    memory.learn(trajectories)
    return len(memory) - before


def _alike(there: Config, here: Config) -> bool:
    if there.decoding.method != here.decoding.method:
        return False
    a, b = ({k: v for k, v in settings(c).items() if not k.startswith(FREE)} for c in (there, here))
    return a == b


def _tells(output: RunDirectory, plan: Plan) -> bool:
    """True if a run's files say what each of the plan's models was. Runs of older releases do not say it."""
    there = output.models()
    return all(part in there.get(role, {}) for role, parts in plan.models.items() for part in parts)


def _same_input(output: RunDirectory, plan: Plan) -> bool:
    """Do two runs read the same files, as far as both read?"""
    if manifest := output.manifest():
        there = [file["sha256"] for file in manifest["input"]["files"]]
        return all(a == b.sha256 for a, b in zip(there, plan.survey.files, strict=False))
    return (output.run() or {}).get("input_fingerprint") == plan.survey.fingerprint
