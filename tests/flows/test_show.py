"""`stepwave show`: one problem's solutions, read off an output alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from invariants import read_tables

from flows.show import lines, show
from schemas.config import Config
from tasks.errors import UserError
from tasks.storage.stores import Stores

Job = Callable[..., Config]


def shown(out: Path, problem_id: str, sample: int | None = None) -> tuple[dict[str, Any], str]:
    report = show(str(out), problem_id, sample, Stores())
    assert json.loads(json.dumps(report)) == report
    return report, "\n".join(lines(report))


def test_every_attempt_of_every_problem_with_its_writer_reward_and_fate(job: Job, generate: Any, out: Path) -> None:
    generate(job("decoding.samples=1"))
    solutions, steps = read_tables(out)
    assert not steps["accepted"].all()
    for row in solutions.to_dicts():
        report, text = shown(out, row["problem_id"])
        own = steps.filter(pl.col("problem_id") == row["problem_id"]).to_dicts()
        assert len(report["solutions"][0]["attempts"]) == len(own)
        heads = re.findall(r"^step (\d+), attempt (\d+): (draft|target), .*: (kept|rejected)$", text, re.MULTILINE)
        fates = [(a["role"], "kept" if a["accepted"] else "rejected") for a in own]
        assert heads == [(str(a["step"]), str(a["attempt"]), *fate) for a, fate in zip(own, fates, strict=True)]
        rewards = [f"reward {a['reward']:.3f}" for a in own if a["reward"] is not None]
        assert re.findall(r"reward [\d.]+", text) == rewards
        assert f"{row['verdict'] or 'not graded'}, {row['status']}" in text


def test_one_sample_of_several(job: Job, generate: Any, out: Path) -> None:
    generate(job("decoding.samples=3", "decoding.temperature=0.5"))
    problem = read_tables(out)[0]["problem_id"][0]
    assert [s["sample"] for s in shown(out, problem)[0]["solutions"]] == [0, 1, 2]
    assert [s["sample"] for s in shown(out, problem, 1)[0]["solutions"]] == [1]
    with pytest.raises(UserError, match=f"problem {problem} has no sample 7$"):
        shown(out, problem, 7)


def test_what_a_terminal_would_obey_is_shown_as_text(job: Job, generate: Any, out: Path) -> None:
    generate(job("decoding.samples=1"))
    problem = read_tables(out)[0]["problem_id"][0]
    report = show(str(out), problem, None, Stores())
    solution = report["solutions"][0]
    solution["problem"] = solution["attempts"][0]["text"] = "a\x1b[2Jb\n\u202ec\r\n\n"
    solution["answer"] = solution["reference"] = solution["error"] = "x\x07y\nz"
    text = "\n".join(lines(report))
    assert text.count("  | a\\x1b[2Jb\n  | \\u202ec\\r\n") == 2
    assert text.count("x\\x07y\\nz") == 3
    assert all(c.isprintable() or c == "\n" for c in text)


def test_why_a_problem_is_not_there(job: Job, generate: Any, out: Path, tmp_path: Path) -> None:
    manifest = generate(job())
    assert manifest["counts"]["rejected"]
    with pytest.raises(UserError, match=r"no problem is called nobody; column problem_id of .*solutions has"):
        shown(out, "nobody")
    for n in (0, 1):
        (out / f"shards/{n:05d}.json").unlink()
    with pytest.raises(UserError, match=r"problem nobody is in none of the 3 of 5 shards that are committed"):
        shown(out, "nobody")
    with pytest.raises(UserError, match="no shard of a run is committed here yet"):
        shown(tmp_path, "nobody")


def test_a_row_that_could_not_be_used_is_told_with_its_reason(job: Job, generate: Any, out: Path) -> None:
    generate(job())
    rejected = [row for path in sorted(out.glob("rejected/*.parquet")) for row in pq.read_table(path).to_pylist()]
    named = [row for row in rejected if row["problem_id"] is not None]
    solved = set(read_tables(out)[0]["problem_id"])
    for row in named:
        if row["problem_id"] not in solved:
            with pytest.raises(UserError, match=re.escape(f"could not be used: {row['reason']}")):
                shown(out, row["problem_id"])
    assert named


@pytest.mark.parametrize("lost", ["steps", "solutions"])
def test_a_shard_that_is_damaged_is_named_and_not_taken_for_one_to_come(
    job: Job, generate: Any, out: Path, lost: str
) -> None:
    generate(job("decoding.samples=1"))
    problem = read_tables(out)[0]["problem_id"][0]
    (out / lost / "00000.parquet").write_bytes(b"PAR1")
    told = rf"problem {problem} is in no shard that can be read: .*{lost}/00000\.parquet is missing or differs"
    with pytest.raises(UserError, match=told):
        shown(out, problem)
    for table in (out / lost).iterdir():
        table.unlink()
    with pytest.raises(UserError, match=told):
        shown(out, problem)
