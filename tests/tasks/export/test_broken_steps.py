"""Steps that are none, being cut by a length limit or without text, and what becomes of what comes behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export.made import attempt, draft, made, redone, solved, write_run
from export.test_labelled_steps import seen
from export.test_rollout_labels import from_, rolled


def cut(step: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Its last attempt was cut by a length limit."""
    return [*step[:-1], step[-1] | {"finish": "length"}]


def left_out(data: Path) -> dict[str, int]:
    record: dict[str, Any] = json.loads((data / "export.json").read_text())
    return dict(record["left_out"])


def test_they_make_no_pairs(tmp_path: Path) -> None:
    rejected_cut = redone("Good.\n\n", "Bad.\n\n")
    rejected_cut[0]["finish"] = "length"
    rows = [
        solved("p0", cut(redone("Goo", "Bad.\n\n"))),
        solved("p1", rejected_cut),
        solved("p2", redone("\n\n", "Bad.\n\n"), redone("Good.\n\n", "")),
        solved("p3", redone("Good.\n\n", "Bad.\n\n")),
    ]
    found = made("step-dpo", write_run(tmp_path / "run", [rows]), tmp_path / "data")
    assert [row["problem_id"] for row in found] == ["p3"]
    assert left_out(tmp_path / "data")["a step is empty, or cut by a length limit"] == 4


@pytest.mark.parametrize("labels", ["reward", "answer", "rollouts"])
def test_they_have_no_labels_nor_has_what_follows(tmp_path: Path, labels: str) -> None:
    rows = [
        solved("p0", draft("A.\n\n"), cut(draft("B an"))),
        solved("p1", draft("A.\n\n"), draft("\n\n"), draft("C.\n\n")),
        solved("p2", draft("A.\n\n"), [attempt("draft", "Ba", 0.1, False, finish="length"), *draft("B.\n\n")]),
        solved("p3", cut(draft("A"))),
    ]
    run = write_run(tmp_path / "run", [rows])
    options: dict[str, Any] = {"labels": labels}
    if labels == "rollouts":
        steps = [*from_("p0", "A.\n\n", right=1), *from_("p1", "A.\n\n", right=1), *from_("p2", "A.\n\n", right=1)]
        steps += [*from_("p2", "A.\n\n", "B.\n\n", right=1), *from_("p1", "A.\n\n", "\n\n"), *from_("p0", "A.", "B an")]
        options["rollouts"] = [rolled(tmp_path / "rollouts", steps)]
    found = made("prm", run, tmp_path / "data", **options)
    assert seen(found) == [(["A."], [True]), (["A."], [True]), (["A.", "B."], [True, True])]
    reason = "steps that are empty, or cut by a length limit, with what follows"
    assert left_out(tmp_path / "data")[reason] == 4


@pytest.mark.parametrize(("better", "worse"), [(0.9, 0.8), (0.4, 0.3), (0.7, 0.6), (0.5, 0.4), (0.8, 0.7)])
def test_a_gap_as_wide_as_the_margin_is_wide_enough(tmp_path: Path, better: float, worse: float) -> None:
    """Whatever float32 makes of it."""
    rows = [solved("p0", redone("Good.", "Bad.", worse, scored=better))]
    run = write_run(tmp_path / "run", [rows])
    assert len(made("step-dpo", run, tmp_path / "data", margin=0.1)) == 1


def test_what_was_thrown_away_where_nothing_whole_was_kept_has_its_label(tmp_path: Path) -> None:
    rows = [solved("p0", cut(redone("Goo", "Bad.\n\n")))]
    run = write_run(tmp_path / "run", [rows])
    assert seen(made("prm", run, tmp_path / "reward")) == [(["Bad."], [False])]
    dest = rolled(tmp_path / "rollouts", from_("p0", "Bad.\n\n", right=1))
    found = made("prm", run, tmp_path / "data", labels="rollouts", rollouts=[dest])
    assert seen(found) == [(["Bad."], [True])]
