"""Pairs of whole solutions."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.made import draft, made, solved, write_run
from tasks.errors import UserError


def told(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_right_against_wrong_of_one_problem(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("Right and sure.", 0.9), sample=0),
        solved("p0", draft("Right, hardly.", 0.3), sample=1),
        solved("p0", draft("Wrong, and liked.", 0.8), correct=False, sample=2),
        solved("p0", draft("Wrong as can be.", 0.1), correct=False, sample=3),
        solved("p0", draft("Wrong once more.", 0.05), correct=False, sample=4),
        solved("p1", draft("Right."), sample=0),
        solved("p2", draft("Who knows."), correct=None),
    ]
    run = write_run(tmp_path / "run", [rows])
    first, second = made("dpo", run, tmp_path / "data")
    assert [message["role"] for message in first["prompt"]] == ["system", "user"]
    assert (first["chosen"], first["rejected"]) == (told("Right and sure."), told("Wrong, and liked."))
    assert (first["sample"], first["rejected_sample"]) == (0, 2)
    assert first["chosen_reward"] - first["rejected_reward"] == pytest.approx(0.1)
    assert (second["sample"], second["rejected_sample"]) == (1, 3)
    assert [row["sample"] for row in made("dpo", run, tmp_path / "wide", margin=0.15)] == [1]
    assert len(made("dpo", run, tmp_path / "one", per_problem=1)) == 1
    text = made("dpo", run, tmp_path / "text", format="text")[0]
    assert (text["prompt"], text["chosen"]) == ("What is the value of p0?\n\n", "Right and sure.")


def test_pairs_over_runs(tmp_path: Path) -> None:
    small = write_run(tmp_path / "small", [[solved("p0", draft("A."), correct=False)]])
    large = write_run(
        tmp_path / "large", [[], [solved("other-id", draft("B."), problem="What is the value of p0?")]], run=1
    )
    [row] = made("dpo", [small, large], tmp_path / "data")
    assert (row["problem_id"], row["rejected_problem_id"]) == ("other-id", "p0")
    assert row["run_id"] != row["rejected_run_id"]
    other = write_run(tmp_path / "other", [[solved("p0", draft("B."))]], run=2, prompt={"system": "Be quick."})
    with pytest.raises(UserError, match="without a counterpart: 2"):
        made("dpo", [small, other], tmp_path / "unlike")
