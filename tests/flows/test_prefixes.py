"""Runs that go on from steps of the input's: what follows is what would have followed had the run written them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from invariants import check, read_tables

from schemas.config import Config
from schemas.export import ExportOptions
from tasks.engines import scripted
from tasks.errors import UserError
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]


def cut(out: Path, bare: bool = False) -> pa.Table:
    """A problem set of the first half of each solution's steps; `bare`: without separators."""
    solutions, steps = read_tables(out)
    texts = steps.filter("accepted").sort("step").group_by("problem_id").agg("text")
    rows = solutions.join(texts, on="problem_id").sort("problem_id")
    prefix = pl.col("text").list.head(pl.col("text").list.len() // 2)
    if bare:
        prefix = prefix.list.eval(pl.element().str.strip_suffix("\n\n"))
    found = rows.select("problem", "problem_id", prefix.alias("begun"))
    return found.to_arrow(compat_level=pl.CompatLevel.oldest())


@pytest.mark.parametrize("bare", [False, True], ids=["with separators", "without"])
@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["models.prm={same_as: target, format: rlhflow}"],  # reads the first step unlike the others
        ["decoding.method=target"],
    ],
    ids=lambda changes: ", ".join(changes) or "rsd",
)
def test_greedy_solutions_go_on_as_they_would_have(
    job: Job,
    generate: Generate,
    problem_set: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[str],
    bare: bool,
) -> None:
    monkeypatch.setattr(scripted, "WORDS", " has more fewer than many times")  # a token each, wherever they stand
    changes = [*changes, "decoding.temperature=0", "decoding.samples=1"]
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    generate(job("input.limit=30", "models.prm.engine.max_model_len=2048", *changes, output=str(whole)))
    begun = problem_set(cut(whole, bare), "begun.parquet")
    generate(job(f"input={{path: {begun}, prefix: begun}}", *changes, output=str(rest)))
    check(rest, begun)
    solutions, steps = read_tables(rest)
    before, _ = read_tables(whole)
    pairs = solutions.join(before, on="problem_id", suffix="_whole")
    pairs = pairs.filter(pl.col("status_whole") == "finished")  # those cut for their length have more room now
    assert len(pairs) > 10
    assert steps["step"].min() == 0
    for row in pairs.to_dicts():
        steps_before = json.loads(row["metadata"])["begun"]
        start = "".join(step + "\n\n" * bare for step in steps_before)
        assert start + row["solution"] == row["solution_whole"]
        assert row["steps"] == row["steps_whole"] - len(steps_before)


def test_the_whole_text_is_graded(job: Job, generate: Generate, problem_set: Any, out: Path) -> None:
    rows = {
        "problem": ["How many?", "How many?", "How many?"],
        "answer": ["12", "12", "12"],
        "first": [["Twelve: \\boxed{12}.\n\n"], ["Thirteen: \\boxed{13}."], None],
    }
    generate(job(f"input={{path: {problem_set(rows, 'boxed.parquet')}, prefix: first}}", "decoding.samples=1"))
    solutions, _ = read_tables(out)
    assert len(solutions) == 3, "rows of one problem differ by their prefix, without ids too"
    by_prefix = {str(json.loads(m)["first"]): c for m, c in solutions.select("metadata", "correct").iter_rows()}
    assert by_prefix == {str(rows["first"][0]): True, str(rows["first"][1]): False, "None": False}


def test_rows_with_a_bad_prefix_are_rejected(job: Job, generate: Generate, problem_set: Any, out: Path) -> None:
    long = "seven spoons and " * 3000
    rows = {
        "problem": [f"{n}?" for n in range(5)],
        "problem_id": list("abcde"),
        "first": [["fine", ""], ["fine", None], [], [long], ["fine"]],
    }
    generate(job(f"input={{path: {problem_set(rows, 'bad.parquet')}, prefix: first}}"))
    solutions, _ = read_tables(out)
    rejected = pl.read_parquet(f"{out}/rejected/*.parquet")
    assert set(solutions["problem_id"]) == {"c", "e"}
    assert dict(rejected.select("problem_id", "reason").iter_rows()) == {
        "a": "a step of the prefix is null, empty or not UTF-8 text",
        "b": "a step of the prefix is null, empty or not UTF-8 text",
        "d": "the prompt is longer than the models take",
    }


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        ("steps", "input.prefix: .*has no column 'steps'; it has problem, problem_id, first, other"),
        ("other", "column 'other' is int64, but must be list of string"),
        ("problem", "'problem' is a column that Stepwave uses itself"),
    ],
)
def test_a_column_that_holds_no_steps_is_told(
    job: Job, generate: Generate, problem_set: Any, prefix: str, told: str
) -> None:
    rows = {"problem": ["a?"], "problem_id": ["a"], "first": [["x"]], "other": [1]}
    with pytest.raises(UserError, match=told):
        generate(job(f"input={{path: {problem_set(rows, 'odd.parquet')}, prefix: {prefix}}}"))


def test_another_prefix_is_another_run(job: Job, generate: Generate, problem_set: Any) -> None:
    path = problem_set({"problem": ["a?"], "one": [["x"]], "two": [["y"]]}, "two.parquet")
    generate(job(f"input={{path: {path}, prefix: one}}"))
    with pytest.raises(UserError, match=r"input\.prefix: \"one\" there, \"two\" here"):
        generate(job(f"input={{path: {path}, prefix: two}}"))


def test_no_dataset_is_made_of_ends_of_solutions(
    job: Job, generate: Generate, problem_set: Any, out: Path, tmp_path: Path
) -> None:
    from flows.export import export

    path = problem_set({"problem": ["a?"], "one": [["x"]]}, "one.parquet")
    generate(job(f"input={{path: {path}, prefix: one}}"))
    with pytest.raises(UserError, match="goes on from steps of its input"):
        export("sft", [str(out)], str(tmp_path / "data"), ExportOptions(answers="any"), Stores())
