"""Which steps are rolled out, and the problem set that they make."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from export.made import Solution, attempt, draft, redone, write_run
from export.made import solved as plain
from schemas.rollouts import RolloutOptions
from schemas.tables import ROLLED_OUT
from tasks.export.filters import Filters
from tasks.export.rollouts.choosing import MORE_OF_SOLUTIONS, choose, problem_set
from tasks.export.runs import open_runs, read
from tasks.storage.stores import Stores


def solved(problem_id: str, *steps: list[dict[str, Any]], verdict: str | None = "correct", **others: Any) -> Solution:
    return plain(problem_id, *steps, **{"verdict": verdict, "reference": "7"} | others)


def chosen(place: Path, rows: list[Solution], **options: Any) -> tuple[list[list[str]], dict[str, int]]:
    """The texts of the steps that each row goes on from, and what was left out."""
    filters, (shard,) = Filters(), shards(place, rows)
    found = choose(shard, RolloutOptions(**options), filters)
    table = pq.read_table(io.BytesIO(problem_set(shard, found)))
    assert table.schema.equals(ROLLED_OUT)
    assert len(set(table["problem_id"].to_pylist())) == len(table)
    return table["steps"].to_pylist(), {reason: count for reason, count in filters.left_out.items() if count}


def shards(place: Path, rows: list[Solution]) -> list[Any]:
    run = write_run(place, [rows])
    return list(read(open_runs([run], Stores())[0], MORE_OF_SOLUTIONS))


ENDED = {"finish": "eos"}
CUT = {"finish": "length"}


def test_what_is_chosen_and_why_the_rest_is_not(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("A.\n\n", 0.9), redone("B.\n\n", "Bad.\n\n", 0.2), [draft("C.")[0] | ENDED]),
        solved("p0", draft("A.\n\n", 0.9), redone("D.\n\n", "Bad.\n\n", 0.2), [draft("E")[0] | CUT], sample=1),
        solved("p1", draft("A.\n\n"), verdict=None),
        solved("p2", [attempt("draft", "End.", 0.4, accepted=False) | ENDED, *draft("F.\n\n")], verdict="timeout"),
    ]
    steps, left_out = chosen(tmp_path / "all", rows)
    assert steps == [
        ["A.\n\n"],
        ["A.\n\n", "Bad.\n\n"],
        ["A.\n\n", "B.\n\n"],
        ["A.\n\n", "D.\n\n"],
        ["F.\n\n"],
    ]
    assert left_out == {
        "the problem has no reference that can be read": 1,
        "the solution's end: its verdict says what it is worth": 2,
        "empty, or cut by a length limit": 1,
        "the same steps once more": 2,
    }
    steps, left_out = chosen(tmp_path / "kept", rows, attempts="kept")
    assert steps == [["A.\n\n"], ["A.\n\n", "B.\n\n"], ["A.\n\n", "D.\n\n"], ["F.\n\n"]]
    assert left_out["thrown away"] == 3


def test_a_band_of_rewards(tmp_path: Path) -> None:
    rows = [solved("p0", draft("A.\n\n", 0.75), redone("B.\n\n", "Bad.\n\n", 0.25), draft("C.\n\n", 0.5))]
    steps, left_out = chosen(tmp_path / "low", rows, max_reward=0.5)
    assert [texts[-1] for texts in steps] == ["Bad.\n\n", "C.\n\n"]
    assert left_out == {"without a reward": 1, "reward below the least or above the most": 1}
    steps, _ = chosen(tmp_path / "high", rows, min_reward=0.5)
    assert [texts[-1] for texts in steps] == ["A.\n\n", "C.\n\n"]
    assert len(chosen(tmp_path / "any", rows)[0]) == 4


def test_a_share_of_the_problems_is_the_same_in_every_run_and_of_both_splits(tmp_path: Path) -> None:
    def of(place: str, share: float, *texts: str) -> set[str]:
        rows = [solved(f"{place}{n}", draft(f"{n}.\n\n"), problem=text) for n, text in enumerate(texts)]
        filters, (shard,) = Filters(), shards(tmp_path / f"{place}-{share}", rows)
        found = choose(shard, RolloutOptions(share=share), filters)
        assert len(texts) - len(found) == filters.left_out["problems beyond the share"]
        keys.extend(found["key"].to_list())
        return set(found["problem"])

    keys: list[int] = []
    problems = [f"What is {n}?" for n in range(200)]
    some = of("a", 0.3, *problems)
    assert 30 < len(some) < 90
    assert of("b", 0.3, *problems[50:150][::-1]) == some & set(problems[50:150])
    assert of("c", 0.1, *problems) < some
    shares = [key / 2**64 for key in keys]
    assert min(shares) < 0.2
    assert max(shares) > 0.8, "the split of a dataset is another question"


def test_of_a_search_only_what_continues_the_accepted_path(tmp_path: Path) -> None:
    first = [attempt("draft", "A.\n\n", 0.9, wave=0), attempt("draft", "B.\n\n", 0.6, accepted=False, wave=0)]
    second = [
        attempt("draft", "Of the winner.\n\n", 0.3, accepted=False, parent=0, wave=1),
        attempt("draft", "Of another beam.\n\n", 0.2, accepted=False, parent=1, wave=1),
        attempt("draft", "Won.", 0.9, parent=0, wave=1) | ENDED,
    ]
    steps, left_out = chosen(tmp_path / "run", [solved("p0", first, second)])
    assert steps == [["A.\n\n"], ["B.\n\n"], ["A.\n\n", "Of the winner.\n\n"]]
    assert left_out["behind a beam that was not kept"] == 1


def test_rows_have_all_of_their_problem_and_their_origin(tmp_path: Path) -> None:
    about = {"choices": ["6", None, "7"], "level": 3, "source": "here", "other": [1]}
    rows = [
        solved("a:b", draft("A.\n\n"), sample=4, reference="C", metadata=json.dumps(about)),
        solved("c", draft("A.\n\n"), redone("B.\n\n", "Bad.\n\n")),
    ]
    (shard,) = shards(tmp_path / "run", rows)
    found = pl.read_parquet(problem_set(shard, choose(shard, RolloutOptions(), Filters()))).to_dicts()
    assert found[0] == {
        "problem_id": "a:b:4:0:0",
        "problem": "What is the value of a:b?",
        "answer": "C",
        "choices": ["6", "", "7"],
        "source": "here",
        "level": "3",
        "steps": ["A.\n\n"],
        "of_run": shard.run.run_id,
        "of_problem": "a:b",
        "of_sample": 4,
        "of_step": 0,
        "of_attempt": 0,
    }
    assert [row["problem_id"] for row in found[1:]] == ["c:0:0:0", "c:0:1:0", "c:0:1:1"]
    assert (found[1]["choices"], found[1]["level"]) == (None, None)


@pytest.mark.parametrize("group", [1, 2])
def test_large_shards_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    rows = [solved(f"p{n}", draft("A.\n\n"), draft("B.\n\n")) for n in range(3)]
    steps, _ = chosen(tmp_path / "whole", rows)
    monkeypatch.setattr("tasks.export.rollouts.choosing.GROUP", group)
    assert chosen(tmp_path / "parts", rows)[0] == steps
