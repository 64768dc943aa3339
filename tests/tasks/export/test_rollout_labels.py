"""Steps with labels from roll-outs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export.made import Solution, attempt, draft, made, redone, solved, write_run
from export.test_labelled_steps import seen
from tasks.errors import UserError
from tasks.export.rollouts.record import sealed
from tasks.storage.store import Store


def from_(problem: str, *steps: str, right: int = 0, of: int = 4, **others: Any) -> list[Solution]:
    """Roll-outs of a problem from these steps."""
    text = {"problem": f"What is the value of {problem}?", "metadata": json.dumps({"steps": steps})} | others
    name = f"{problem}:{'/'.join(steps)}"
    return [solved(name, draft("So."), **{"correct": n < right, "sample": n} | text) for n in range(of)]


def rolled(place: Path, *steps: list[Solution], run: int = 7, finished: bool = True) -> str:
    """An output of roll-outs, a shard for each step."""
    store = Store(str(place))
    shards = {"taken": [0], "of": 1, "whole": True}
    store.write("rollouts.json", sealed({"asked": {}, "of": {"run_id": "source"}, "shards": shards, "chosen": None}))
    write_run(place / "run", steps, finished, run=run)
    return store.path()


def last(*attempts: dict[str, Any]) -> list[dict[str, Any]]:
    """A step that ends the solution."""
    return [each | {"finish": "eos"} for each in attempts]


def test_a_step_is_right_if_any_roll_out_is(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("A.\n\n"), redone("B.\n\n", "Bad.\n\n"), last(*draft("C.")), correct=True),
        solved("p1", draft("A.\n\n"), draft("No.\n\n"), last(*draft("D.")), correct=False),
    ]
    dest = rolled(
        tmp_path / "rollouts",
        from_("p0", "A.\n\n", right=3),
        from_("p0", "A.\n\n", "B.\n\n", right=4) + from_("p0", "A.\n\n", "Bad.\n\n", right=0),
        from_("p1", "A.\n\n", right=1) + from_("p1", "A.\n\n", "No.\n\n", right=0),
    )
    run = write_run(tmp_path / "run", [rows])
    found = made("prm", run, tmp_path / "data", labels="rollouts", rollouts=[dest])
    assert seen(found) == [
        (["A.", "Bad."], [True, False]),
        (["A.", "B.", "C."], [True, True, True]),
        (["A.", "No.", "D."], [True, False, False]),
    ]
    assert [row["estimates"] for row in found] == [[0.75, 0.0], [0.75, 1.0, 1.0], [0.25, 0.0, 0.0]]
    assert found[1]["rewards"] == [pytest.approx(0.9), None, pytest.approx(0.9)]
    assert [(row["problem_id"], row["step"], row["attempt"]) for row in found] == [
        ("p0", 1, 0),
        ("p0", 2, 0),
        ("p1", 2, 0),
    ]
    strict = made("prm", run, tmp_path / "strict", labels="rollouts", rollouts=[dest], threshold=0.5)
    assert seen(strict)[2][1] == [False, False, False]
    text = (tmp_path / "strict" / "README.md").read_text()
    assert "at least a share of 0.5" in text
    assert "| `source` | `draft` and `target` | 1 |" in text


def test_a_right_way_on_from_a_later_step_is_one_from_those_before_it(tmp_path: Path) -> None:
    """Also of other solutions with the same steps, and also where the solution itself ended right."""
    rows = [
        solved("p0", draft("A.\n\n"), draft("B.\n\n"), last(*draft("C.")), correct=True),
        solved("p1", draft("A.\n\n"), redone("B.\n\n", "Bad.\n\n"), draft("C.\n\n"), draft("D.\n\n")),
        solved("p1", draft("A.\n\n"), draft("B.\n\n"), draft("E.\n\n"), sample=1),
        solved("p2", draft("A.\n\n"), redone("B.\n\n", "Good.\n\n")),
    ]
    of_p1 = [("A.\n\n",), ("A.\n\n", "B.\n\n"), ("A.\n\n", "Bad.\n\n")]
    of_p1 += [("A.\n\n", "B.\n\n", "C.\n\n"), ("A.\n\n", "B.\n\n", "E.\n\n")]
    dest = rolled(
        tmp_path / "rollouts",
        [one for steps in (("A.\n\n",), ("A.\n\n", "B.\n\n")) for one in from_("p0", *steps)],
        [one for steps in of_p1 for one in from_("p1", *steps, right=2 * (steps[-1] == "C.\n\n"))],
        from_("p2", "A.\n\n") + from_("p2", "A.\n\n", "B.\n\n") + from_("p2", "A.\n\n", "Good.\n\n", right=1),
    )
    run = write_run(tmp_path / "run", [rows])
    found = made("prm", run, tmp_path / "data", labels="rollouts", rollouts=[dest])
    assert sorted(zip(*zip(*seen(found), strict=True), strict=True)) == [
        (["A.", "B."], [True, False]),
        (["A.", "B.", "C."], [True, True, True]),
        (["A.", "B.", "C."], [True, True, True]),
        (["A.", "B.", "E."], [True, True, False]),
        (["A.", "Bad."], [True, False]),
        (["A.", "Good."], [True, True]),
    ]
    assert [row["estimates"] for row in found if row["problem_id"] == "p0"] == [[0.0, 0.0, 1.0]]
    shares = made("prm", run, tmp_path / "shares", labels="rollouts", rollouts=[dest], threshold=0.25)
    assert (["A.", "B.", "C."], [False, False, True]) in seen(shares)


def test_a_row_ends_before_a_step_without_roll_outs(tmp_path: Path) -> None:
    rows = [
        solved("p0", draft("A.\n\n"), draft("B.\n\n"), redone("C.\n\n", "Bad.\n\n"), draft("D.\n\n")),
        solved("p1", redone("A.\n\n", "Bad.\n\n"), redone("B.\n\n", "Worse.\n\n")),
        solved("p2", draft("A.\n\n")),
    ]
    dest = rolled(
        tmp_path / "rollouts",
        from_("p0", "A.\n\n", right=1) + from_("p0", "A.\n\n", "B.\n\n", "Bad.\n\n", right=1),
        from_("p1", "Bad.\n\n", right=0) + from_("p1", "A.\n\n", "Worse.\n\n", right=0),
    )
    found = made("prm", write_run(tmp_path / "run", [rows]), tmp_path / "data", labels="rollouts", rollouts=[dest])
    assert seen(found) == [(["A."], [True]), (["Bad."], [False])]
    record = json.loads((tmp_path / "data" / "export.json").read_text())
    assert record["left_out"] == {"attempts without roll-outs, each with what comes behind it": 6}
    assert record["rollouts"][0] | {"run_id": ""} == {"run_id": "", "steps": 4, "complete": True}


def test_a_step_that_ended_its_solution_is_worth_its_verdict(tmp_path: Path) -> None:
    def end(text: str) -> list[dict[str, Any]]:
        return last(attempt("draft", r"It is \boxed{8}.", 0.1, accepted=False), *draft(text))

    choices = {"reference": "B", "metadata": json.dumps({"choices": ["7", "8"]})}
    rows = [
        solved("p0", draft("A.\n\n"), end(r"It is \boxed{7}."), correct=True, reference="7"),
        solved("p1", draft("A.\n\n"), end(r"It is \boxed{7}."), correct=False, **choices),
        solved("p2", draft("A.\n\n"), end("It is."), correct=None),
    ]
    steps = [from_("p0", "A.\n\n", right=4), from_("p1", "A.\n\n", right=4), from_("p2", "A.\n\n", right=4)]
    steps[1] = from_("p1", "A.\n\n", right=4, metadata=json.dumps({"choices": ["7", "8"], "steps": ["A.\n\n"]}))
    dest = rolled(tmp_path / "rollouts", *steps)
    found = made("prm", write_run(tmp_path / "run", [rows]), tmp_path / "data", labels="rollouts", rollouts=[dest])
    assert [(row["problem_id"], row["completions"][1:], row["labels"]) for row in found] == [
        ("p0", [r"It is \boxed{8}."], [True, False]),
        ("p0", [r"It is \boxed{7}."], [True, True]),
        ("p1", [r"It is \boxed{8}."], [True, True]),
        ("p1", [r"It is \boxed{7}."], [True, False]),
        ("p2", [], [True]),
    ]


def test_equal_steps_of_any_run_have_equal_labels(tmp_path: Path) -> None:
    """Whatever white space separates them, and whatever the problem is called there."""
    one = write_run(tmp_path / "one", [[solved("p0", draft("A.\n\n"), draft("B.\n\n\n\n"), draft("C."))]])
    other = solved("other", draft("A.\n\n"), draft("B.\n\n"), draft("E.\n\n"), problem="What is  the value of p0?")
    two = write_run(tmp_path / "two", [[other]], run=1)
    first = rolled(tmp_path / "first", from_("p0", "A.\n\n", right=0) + from_("p0", "A.", "B.", right=1, of=2))
    second = rolled(tmp_path / "second", from_("p0", "A.\n\n", right=1), run=8)
    both = made("prm", [one, two], tmp_path / "data", labels="rollouts", rollouts=[first, second])
    assert {row["run_id"]: row["estimates"] for row in both} == {
        row["run_id"]: pytest.approx([1 / 8, 1 / 2]) for row in both
    }
    assert len(both) == 2, "their texts differ by white space"


def test_failed_and_ungraded_roll_outs_do_not_count(tmp_path: Path) -> None:
    rows = [solved("p0", draft("A.\n\n")), solved("p1", draft("A.\n\n"))]
    some = from_("p0", "A.\n\n", right=1, of=2)
    some[1] = (some[1][0] | {"status": "failed"}, some[1][1])
    dest = rolled(tmp_path / "rollouts", some, from_("p1", "A.\n\n", of=1, correct=None), finished=False)
    run = write_run(tmp_path / "run", [rows])
    found = made("prm", run, tmp_path / "data", labels="rollouts", rollouts=[dest])
    assert [(row["problem_id"], row["estimates"]) for row in found] == [("p0", [1.0])]
    assert "unfinished: 2 of ? shards" in (tmp_path / "data" / "README.md").read_text()


def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("A.\n\n"))]])
    dest = rolled(tmp_path / "rollouts", from_("p1", "A.\n\n", right=1))
    (tmp_path / "empty").mkdir()

    def refused(what: str, kind: str = "prm", **options: Any) -> None:
        with pytest.raises(UserError, match=what):
            made(kind, run, tmp_path / "never", **options)

    refused("--labels rollouts needs --rollouts", labels="rollouts")
    refused("--rollouts is for --labels rollouts", rollouts=[dest])
    refused("--rollouts is for --labels rollouts", labels="answer", rollouts=[dest])
    refused("--rollouts is for prm, not for sft", kind="sft", rollouts=[dest])
    refused("run is no output of `stepwave rollouts`", labels="rollouts", rollouts=[run])
    refused("empty is no output", labels="rollouts", rollouts=[str(tmp_path / "empty")])
    refused("name it once", labels="rollouts", rollouts=[dest, dest])
    refused("attempts without roll-outs.*: 1", labels="rollouts", rollouts=[dest])
