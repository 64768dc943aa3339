"""Pairs of steps: the target's against the draft's that was rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.made import attempt, draft, made, redone, solved, write_run
from tasks.errors import UserError


def test_a_pair_for_each_step_that_was_written_again(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("First é.\n\n"), redone("Then 4.\n\n", "Then 5.\n\n", 0.25), redone("So 4.", "So 5.", 0.5)),
        solved("p0", draft("First.\n\n"), draft("So 4."), sample=1),
        solved("p1", redone("Wrong as well.", "Wrong.", 0.1), correct=False, status="max_steps"),
        solved("p2", redone("The same.", "The same.")),
    ]
    found = made("step-dpo", write_run(tmp_path / "run", [rows[:1], rows[1:]]), tmp_path / "data")
    first, second, third = found
    assert first | {"run_id": ""} == {
        "prompt": "What is the value of p0?\n\nFirst é.\n\n",
        "chosen": "Then 4.\n\n",
        "rejected": "Then 5.\n\n",
        "run_id": "",
        "problem_id": "p0",
        "sample": 0,
        "step": 1,
        "chosen_attempt": 1,
        "rejected_attempt": 0,
        "chosen_reward": None,
        "rejected_reward": 0.25,
    }
    assert second["prompt"] == "What is the value of p0?\n\nFirst é.\n\nThen 4.\n\n"
    assert (second["step"], second["chosen"], second["rejected"]) == (2, "So 4.", "So 5.")
    assert (third["problem_id"], third["chosen"]) == ("p1", "Wrong as well.")


def test_of_several_candidates_the_judged_one_is_the_rejected(tmp_path: Path) -> None:
    attempts = [
        attempt("draft", "Bad.", 0.1, accepted=False),
        attempt("draft", "Less bad.", 0.4, accepted=False),
        attempt("draft", "As bad.", 0.4, accepted=False),
        attempt("target", "Good.", None),
    ]
    run = write_run(tmp_path / "run", [[solved("p0", attempts)]])
    [row] = made("step-dpo", run, tmp_path / "data")
    assert (row["rejected"], row["rejected_attempt"], row["chosen_attempt"]) == ("Less bad.", 1, 3)


def test_margin_and_pairs_that_were_not_scored(tmp_path: Path) -> None:
    rows = [
        solved("wide", redone("A.", "B.", 0.1, scored=0.9)),
        solved("narrow", redone("C.", "D.", 0.5, scored=0.6)),
        solved("unscored", redone("E.", "F.", 0.5)),
    ]
    run = write_run(tmp_path / "run", [rows])

    def left(name: str, **options: object) -> list[str]:
        return [row["problem_id"] for row in made("step-dpo", run, tmp_path / name, **options)]

    assert left("all") == ["narrow", "unscored", "wide"]
    assert left("margin", margin=0.3) == ["unscored", "wide"]
    assert left("strict", margin=0.3, unscored="drop") == ["wide"]
    assert left("scored", unscored="drop") == ["narrow", "wide"]


def test_a_run_without_target_has_none(tmp_path: Path) -> None:
    alone = write_run(tmp_path / "alone", [[solved("p0", draft("A."))]], decoding={"method": "draft"})
    with pytest.raises(UserError, match="method draft has no target"):
        made("step-dpo", alone, tmp_path / "data")
    rsd = write_run(tmp_path / "rsd", [[solved("p0", redone("A.", "B."))]], run=1)
    assert len(made("step-dpo", [alone, rsd], tmp_path / "data")) == 1
    assert "method draft has no target" in (tmp_path / "data" / "README.md").read_text()
