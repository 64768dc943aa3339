"""Outputs of releases that kept what reward models gave, NaN as well: nothing is labelled, ranked or added up by it."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from export.made import attempt, draft, made, redone, solved, write_run
from export.test_labelled_steps import seen
from report import outputs
from test_tables import fresh, rows_of, written

from flows.export import export, lines
from schemas.export import ExportOptions
from schemas.rollouts import RolloutOptions
from schemas.tables import SOLUTIONS, STEPS
from tasks import report
from tasks.calibration.figures import figures, read
from tasks.decoding.replay import replay
from tasks.decoding.sweep import Memory
from tasks.export.filters import Filters
from tasks.export.rollouts.choosing import MORE_OF_SOLUTIONS, choose
from tasks.export.runs import open_runs
from tasks.export.runs import read as read_shards
from tasks.output.sound_rewards import TOLD, sound
from tasks.report.gather import gather
from tasks.report.headline import notes
from tasks.storage.store import Store
from tasks.storage.stores import Stores

NONE = [math.nan, math.inf, -math.inf, -0.5, 1.5, 3.0e38]
each = pytest.mark.parametrize("figure", NONE)


def left_out(data: Path) -> dict[str, int]:
    record: dict[str, Any] = json.loads((data / "export.json").read_text())
    return dict(record["left_out"])


def test_a_table_is_read_with_null_in_their_place() -> None:
    given = [0.0, *NONE, None, 1.0, float(np.nextafter(np.float32(1), np.float32(2)))]
    table = pa.table({"step": range(10), "reward": pa.array(given, pa.float32())})
    found, count = sound(table)
    assert (count, found["step"].to_pylist()) == (len(NONE), list(range(10)))
    assert found["reward"].to_pylist() == [0.0, *[None] * 7, 1.0, pytest.approx(1)]
    assert found.schema == table.schema
    for few in ([], [None], [0.5, None, 1.0]):
        table = pa.table({"score": pa.array(few, pa.float32())})
        assert sound(table) == (table, 0)


# --- exports


@each
def test_no_step_has_a_label_by_one(tmp_path: Path, figure: float) -> None:
    rows = [
        solved("p0", draft("A.\n\n", 0.9), draft("B.\n\n", figure), draft("C.", 0.8)),
        solved("p1", draft("D.\n\n", 0.2), redone("E.\n\n", "Bad.\n\n", figure), redone("F.", "Worse.", 0.1)),
        solved("p2", draft("G.", figure)),
    ]
    found = made("prm", write_run(tmp_path / "run", [rows]), tmp_path / "data")
    assert seen(found) == [(["A."], [True]), (["D."], [False])]
    assert left_out(tmp_path / "data")[TOLD] == 3


@each
def test_no_pair_is_made_by_one(tmp_path: Path, figure: float) -> None:
    rows = [
        solved("p0", redone("Good.", "Bad.", figure, scored=0.9)),
        solved("p1", redone("Good.", "Bad.", 0.1, scored=figure)),
        solved("p2", redone("Good.", "Bad.", 0.1, scored=0.9)),
    ]
    run = write_run(tmp_path / "run", [rows])
    found = made("step-dpo", run, tmp_path / "data", unscored="drop", margin=0.1)
    assert [(row["problem_id"], row["chosen_reward"]) for row in found] == [("p2", pytest.approx(0.9))]
    assert left_out(tmp_path / "data")[TOLD] == 2
    # kept as what they are where pairs without a reward are kept
    found = made("step-dpo", run, tmp_path / "kept", unscored="keep", margin=0.1)
    assert ("p1", None) in [(row["problem_id"], row["chosen_reward"]) for row in found]


@each
def test_no_solution_stands_first_by_one(tmp_path: Path, figure: float) -> None:
    """Nor has it a reward in the dataset."""
    several = [
        solved("p0", draft("Right."), sample=0, min_reward=figure, last_reward=figure),
        solved("p0", draft("Right too."), sample=1, min_reward=0.4),
        solved("p0", draft("Wrong."), correct=False, sample=2, min_reward=figure),
        solved("p0", draft("Wrong too."), correct=False, sample=3, min_reward=0.3),
    ]
    run = write_run(tmp_path / "run", [several])
    pairs = made("dpo", run, tmp_path / "dpo", margin=-1.0)
    assert [(row["sample"], row["chosen_reward"]) for row in pairs] == [(1, pytest.approx(0.4))]
    assert [row["rejected_sample"] for row in pairs] == [3]
    best = made("sft", run, tmp_path / "sft", per_problem=1, near_duplicates=1.0)
    assert [row["sample"] for row in best] == [1]
    every = made("sft", run, tmp_path / "every", near_duplicates=1.0)
    assert [row["min_reward"] for row in every] == [None, pytest.approx(0.4)]
    assert [row["sample"] for row in made("sft", run, tmp_path / "least", min_reward=0.0)] == [1]


def test_an_export_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("A.\n\n", 0.9), draft("B.", math.nan))]])
    done = export("sft", [run], str(tmp_path / "data"), ExportOptions(splits="none"), Stores())
    assert any(line.startswith("left out") and line.endswith(f"1  {TOLD}") for line in lines(done))


@each
def test_no_step_is_rolled_out_for_one(tmp_path: Path, figure: float) -> None:
    rows = [solved("p0", draft("A.\n\n", 0.9), draft("B.\n\n", figure), verdict="correct")]
    run = open_runs([write_run(tmp_path / "run", [rows])], Stores())[0]
    (shard,) = read_shards(run, MORE_OF_SOLUTIONS)
    for options in (RolloutOptions(min_reward=0.5), RolloutOptions(max_reward=1.0)):
        filters = Filters()
        assert choose(shard, options, filters)["text"].to_list() == ["A.\n\n"]
        assert filters.left_out["without a reward"] == 1
    assert shard.unsound == 1


# --- reports


@each
def test_a_report_leaves_them_out_and_says_so(tmp_path: Path, figure: float) -> None:
    store = Store(str(tmp_path / "out"))
    solution, steps = outputs.solution("p0", "ddt", min_reward=figure, score=figure)
    steps[1]["reward"] = figure
    outputs.write_run(store, [[(solution, steps), outputs.solution("p1")]])
    contents = gather(store, None)
    (sums,) = contents.sums_by_run
    assert sums.unsound == 1
    assert sums.rewards.sum() == 4
    assert sums.least.sum() == 1
    assert any(note.startswith(f"1 {TOLD}") for note in notes(contents))
    told: list[str] = []
    report.renew(store, told.append)
    assert len(told) == 1
    assert f"1 {TOLD}" in told[0]
    page = store.read("report/index.html").decode()
    packed = [gzip.decompress(base64.b64decode(text)).decode() for text in re.findall(r">(H4sI[^<]+)<", page)]
    assert packed
    for text in packed:
        json.loads(text, parse_constant=pytest.fail)


def test_a_report_of_a_run_without_them_says_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    outputs.write_run(store, [outputs.few()])
    report.renew(store, pytest.fail)
    assert not any(TOLD in note for note in notes(gather(store, None)))


# --- calibrations


@each
def test_figures_of_a_threshold_are_of_the_other_rewards(figure: float) -> None:
    solution = {"problem_id": "p0", "verdict": "correct", "correct": True, "steps": 2, "flops": 1.0}
    judged: dict[str, Any] = {"problem_id": "p0", "threshold": 0.7, "token_ids": []}
    steps = [judged | {"reward": 0.5}, judged | {"reward": figure}, judged | {"reward": 0.75}]
    found = read(outputs.table([solution], SOLUTIONS), outputs.table(steps, STEPS))
    assert found.rewards.tolist() == [0.5, 0.75]
    (row,) = figures({0.7: found})
    assert row["reward"] == pytest.approx(0.625)
    json.dumps(row, allow_nan=False)


# --- runs that go on


@each
@pytest.mark.parametrize("step", [0, 1])
def test_what_was_decided_by_one_is_decided_again(figure: float, step: int) -> None:
    """And so is what came after it."""
    rows = rows_of(written())
    for row in rows:
        if row["step"] == step and row["role"] == "draft":
            row["reward"] = figure
    again = fresh()
    replay([again], rows)
    assert again.rounds == 8, "rounds go on after those"
    assert [a.step for a in again.steps] == list(range(step))
    memory = Memory(alike=True)
    memory.learn([again])
    assert all(0 <= reward <= 1 for reward in memory.scored.found.values() if isinstance(reward, float))


def test_a_rounded_one_holds() -> None:
    rows = rows_of(written())
    rows[0]["reward"] = float(np.nextafter(np.float32(1), np.float32(2)))
    again = fresh()
    replay([again], rows)
    assert len(again.steps) == 3
    assert again.steps[0].reward == 1.0


def test_attempts_without_a_reward_are_no_such_case(tmp_path: Path) -> None:
    """Not asked, or beyond the window."""
    rows = [solved("p0", [attempt("target", "A.", None)])]
    run = write_run(tmp_path / "run", [rows], decoding={"method": "target"})
    made("sft", run, tmp_path / "data")
    assert TOLD not in left_out(tmp_path / "data")
