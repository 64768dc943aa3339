"""Steps with labels, to train a process reward model on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export.made import attempt, draft, made, redone, solved, write_run
from tasks.errors import UserError


def seen(rows: list[dict[str, Any]]) -> list[tuple[list[str], list[bool]]]:
    return [(row["completions"], row["labels"]) for row in rows]


def test_labels_from_rewards(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("A.\n\n", 0.9), draft("B.\n\n\n\n", 0.4), draft("C.", 0.8)),
        solved(
            "p1", draft("A.\n\n", 0.9), redone("B.\n\n", "Bad.\n\n", 0.2), draft("C.", 0.8), redone("D.", "E.", 0.1)
        ),
        solved("p2", redone("B.", "Bad.", 0.6)),
    ]
    found = made("prm", write_run(tmp_path / "run", [rows]), tmp_path / "data")
    assert seen(found) == [
        (["A.", "B.\n\n", "C."], [True, False, True]),  # of two separators one belongs to the step
        (["A.", "Bad."], [True, False]),  # what comes after the target's step, which has no reward, has no place
        (["Bad."], [True]),
    ]
    assert found[1] | {"run_id": "", "completions": [], "labels": []} == {
        "prompt": "What is the value of p1?\n\n",
        "completions": [],
        "labels": [],
        "run_id": "",
        "problem_id": "p1",
        "sample": 0,
        "step": 1,
        "attempt": 0,
        "rewards": [pytest.approx(0.9), pytest.approx(0.2)],
        "estimates": None,
    }
    strict = made("prm", write_run(tmp_path / "run2", [rows]), tmp_path / "strict", threshold=0.85)
    assert seen(strict)[0][1] == [True, False, False]


def test_a_target_that_was_scored_is_a_step_like_others(tmp_path: Path) -> None:
    row = solved("p0", draft("A.\n\n"), redone("B.\n\n", "Bad.\n\n", 0.2, scored=0.7), draft("C."))
    found = made("prm", write_run(tmp_path / "run", [[row]]), tmp_path / "data")
    assert sorted(seen(found)) == [(["A.", "B.", "C."], [True, True, True]), (["A.", "Bad."], [True, False])]


def test_labels_from_answers(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("A.\n\n"), redone("B.", "Bad."), correct=False),
        solved("p1", draft("C.")),
        solved("p2", draft("D."), correct=None),
    ]
    run = write_run(tmp_path / "run", [rows], decoding={"method": "target"})
    found = made("prm", run, tmp_path / "data", labels="answer")
    assert seen(found) == [(["A.", "B."], [False, False]), (["C."], [True])]
    assert found[0]["rewards"][1] is None
    with pytest.raises(UserError, match="--labels answer"):
        made("prm", run, tmp_path / "none")


def test_of_a_search_only_what_continues_the_accepted_path(tmp_path: Path) -> None:
    first = [attempt("draft", "A.\n\n", 0.9, wave=0), attempt("draft", "B.\n\n", 0.6, accepted=False, wave=0)]
    second = [
        attempt("draft", "Of the winner, lost.", 0.3, accepted=False, parent=0, wave=1),
        attempt("draft", "Of another beam.", 0.2, accepted=False, parent=1, wave=1),
        attempt("draft", "Won.", 0.9, parent=0, wave=1),
        attempt("draft", "Beyond the solution.", 0.1, accepted=False, parent=0, wave=2),
    ]
    run = write_run(tmp_path / "run", [[solved("p0", first, second)]])
    found = made("prm", run, tmp_path / "data")
    assert sorted(texts for texts, _ in seen(found)) == [["A.", "Of the winner, lost."], ["A.", "Won."], ["B."]]
