"""`stepwave show`: one problem's solutions, step by step, with writers, rewards and rejected attempts."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.compute as pc

from flows.terminal.text import aligned, quoted
from tasks.errors import UserError, on_one_line
from tasks.output.kinds import why_no_run
from tasks.output.reading import committed_table
from tasks.output.run_files import Records, RunFiles
from tasks.problems.metadata import columns_of
from tasks.storage.stores import Stores


def show(out: str, problem_id: str, sample: int | None, stores: Stores) -> dict[str, Any]:
    """The committed solutions of a problem, or its sample's, each with all of its attempts. Raises UserError if there
    is none; it says why, as far as the output shows that."""
    output = RunFiles(stores.store(out))
    output.check_format()
    records = output.records()
    if not records.good and (other := why_no_run(output.store)) is not None:
        raise UserError(other)
    if not records.good and not records.damaged:
        raise UserError(f"{out}: no shard of a run is committed here yet")
    for shard, record in sorted(records.good.items()):
        ids = committed_table(output, record, "solutions", ["problem_id"])
        if ids is None or problem_id not in ids.table["problem_id"].to_pylist():
            continue
        solutions = _of(output, record, "solutions", problem_id, sample)
        if not solutions:
            raise UserError(f"{out}: problem {problem_id} has no sample {sample}")
        attempts = _of(output, record, "steps", problem_id, sample)
        for solution in solutions:
            own = [attempt for attempt in attempts if attempt["sample"] == solution["sample"]]
            solution["attempts"] = sorted(own, key=lambda attempt: (attempt["step"], attempt["attempt"]))
        return {"output": out, "shard": shard, "problem_id": problem_id, "solutions": solutions}
    raise UserError(f"{out}: {_why_not(output, records, problem_id)}")


def _of(
    output: RunFiles, record: dict[str, Any], name: str, problem_id: str, sample: int | None
) -> list[dict[str, Any]]:
    """Rows of a shard's table that are of a problem, or of one sample of it."""
    found = committed_table(output, record, name)
    if found is None:
        return []
    table = found.table
    wanted = pc.equal(table["problem_id"], problem_id)
    if sample is not None:
        wanted = pc.and_(wanted, pc.equal(table["sample"], sample))
    return table.filter(wanted).to_pylist()


def _why_not(output: RunFiles, records: Records, problem_id: str) -> str:
    for record in records.good.values():
        rejected = committed_table(output, record, "rejected", ["problem_id", "reason"])
        for row in rejected.table.to_pylist() if rejected else []:
            if row["problem_id"] == problem_id:
                return f"problem {problem_id} could not be used: {row['reason']}"
    total = (output.run() or output.manifest() or {}).get("shards")
    if records.damaged:
        return (
            f"problem {problem_id} is in no shard that can be read: {records.damaged[0]}; `stepwave generate` with the "
            "same configuration makes it again"
        )
    if total is not None and len(records.good) < total:
        return f"problem {problem_id} is in none of the {len(records.good):,} of {total:,} shards that are committed"
    return f"no problem is called {problem_id}; column problem_id of {output.store.path('solutions')} has their names"


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    solutions = report["solutions"]
    first = solutions[0]
    found = [f"problem {on_one_line(report['problem_id'])}", *quoted(first["problem"])]
    if others := columns_of(first["metadata"]):
        found += aligned([(on_one_line(name), _short(value)) for name, value in others.items()])
    for solution in solutions:
        found += ["", *_solution(solution)]
    return found


def _solution(solution: dict[str, Any]) -> list[str]:
    rows = [(f"sample {solution['sample']}", _ended(solution))]
    if solution["reference"] is not None:
        rows.append(("reference", solution["reference"]))
    rows.append(("answer", "none" if solution["answer"] is None else solution["answer"]))
    if solution["error"] is not None:
        rows.append(("error", solution["error"]))
    found = aligned(rows)
    for attempt in solution["attempts"]:
        found += ["", _head(attempt), *quoted(attempt["text"])]
    return found


def _ended(solution: dict[str, Any]) -> str:
    verdict = solution["verdict"] or "not graded"
    parts = [f"{verdict}, {solution['status']}"]
    parts.append(f"{solution['draft_steps']} steps of the draft, {solution['target_steps']} of the target")
    if solution["score"] is not None:
        parts.append(f"score {solution['score']:.3f}")
    return "; ".join(parts) + ("" if solution["picked"] else "; not picked")


def _head(attempt: dict[str, Any]) -> str:
    """An attempt in a line: its writer, its reward, and whether it was kept."""
    parts = [f"step {attempt['step']}, attempt {attempt['attempt']}: {attempt['role']}, {attempt['tokens']} tokens"]
    if attempt["reward"] is not None:
        against = "" if attempt["threshold"] is None else f" against {attempt['threshold']:.3g}"
        parts.append(f"reward {attempt['reward']:.3f}{against}")
    if attempt["parent"] is not None:
        parts.append(f"after attempt {attempt['parent']}")
    if attempt["finish"] != "step":
        parts.append(
            {"eos": "ends the solution", "length": "cut by the length limit"}.get(attempt["finish"], attempt["finish"])
        )
    return ", ".join(parts) + (": kept" if attempt["accepted"] else ": rejected")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
