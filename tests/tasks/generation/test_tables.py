"""Tables: trajectories to rows and back, and a hand-made case whose numbers were worked out by hand."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.tables import REJECTED, SOLUTIONS, STEPS
from tasks.decoding.replay import replay
from tasks.decoding.trajectory import Attempt, Context, Trajectory
from tasks.generation.answers import Choice
from tasks.generation.tables import counts, rejected_table, solutions_table, steps_table
from tasks.grading import GRADER, Grade
from tasks.problems.reader import Problem, Rejected

PARAMS = {"draft": 10.0, "target": 100.0, "prm": 1000.0}


def fresh(problem_id: str = "p", sample: int = 0) -> Trajectory:
    return Trajectory(problem_id, sample, {role: Context.of([1, 2]) for role in ("draft", "target", "prm")})


def draft(step: int, tokens: list[int], reward: float | None, accepted: bool, **more: Any) -> Attempt:
    judged = reward is not None
    return Attempt(
        step=step,
        attempt=0,
        role="draft",
        text=f"d{step}.\n\n",
        token_ids=array("i", tokens),
        finish=more.pop("finish", "step"),
        seed=2**63 - 1 - step,
        reward=reward,
        threshold=0.7 if judged else None,
        probability=float(accepted) if judged else None,
        accepted=accepted,
        prm_tokens=more.pop("prm_tokens", 0),
        **more,
    )


def target(step: int, tokens: list[int], **more: Any) -> Attempt:
    finish = more.pop("finish", "step")
    return Attempt(
        step, more.pop("attempt", 1), "target", f"t{step}\n\n", array("i", tokens), finish, seed=step, accepted=True
    )


def take(t: Trajectory, step: list[Attempt], round: int) -> None:
    """Let a trajectory take a step in a round."""
    t.rounds = round
    t.take(step)


def written() -> Trajectory:
    """Draft kept, draft rejected and rewritten, draft kept with no room to judge it; in rounds 4, 5 and 7."""
    t = fresh()
    take(t, [draft(0, [11, 12, 13], 0.9, True, prm_tokens=6)], 4)
    take(t, [draft(1, [14, 15], 0.25, False, prm_tokens=3), target(1, [21, 22, 23, 24])], 5)
    take(t, [draft(2, [16], None, True, finish="eos")], 7)
    t.status = "finished"
    return t


def rows_of(t: Trajectory) -> list[dict[str, Any]]:
    return steps_table("run", 0, [t]).to_pylist()


# --- there and back


def test_taking_the_rows_again_rebuilds_the_trajectory() -> None:
    t, again = written(), fresh()
    replay([again], rows_of(t))
    assert (again.tokens, again.scored, again.waves, again.rounds) == (t.tokens, t.scored, t.waves, 8)
    as_kept = [
        replace(
            a,
            reward=_float32(a.reward),
            threshold=_float32(a.threshold),
            probability=_float32(a.probability),
            read_as={},
        )
        for a in t.attempts
    ]
    assert again.attempts == as_kept
    assert [a.text for a in again.steps] == [a.text for a in t.steps]
    assert again.status is None  # an ended trajectory gets its status from its steps
    assert rows_of(again) == rows_of(t)


def _float32(value: float | None) -> float | None:
    return None if value is None else float(np.float32(value))


def test_order_of_rows_and_copies_of_them_do_not_matter() -> None:
    rows = rows_of(written())
    again = fresh()
    replay([again], [*reversed(rows), *rows])
    assert rows_of(again) == rows


def test_rows_go_to_their_own_problem_and_sample() -> None:
    rows = rows_of(written())
    others = [fresh("p", 1), fresh("q", 0)]
    replay(others, rows)
    assert all(not t.steps for t in others)


@pytest.mark.parametrize(
    ("lost", "kept"),
    [
        ([(0, 0)], 0),
        ([(1, 0)], 1),
        ([(1, 1)], 1),
        ([(1, 0), (1, 1)], 1),
        ([(2, 0)], 2),
        ([], 3),
    ],
)
def test_steps_after_a_gap_and_steps_not_whole_are_left_out(lost: list[tuple[int, int]], kept: int) -> None:
    rows = [row for row in rows_of(written()) if (row["step"], row["attempt"]) not in lost]
    again = fresh()
    replay([again], rows)
    assert len(again.steps) == kept
    assert again.rounds == max(row["wave"] for row in rows) + 1


def test_steps_that_continued_a_lost_version_of_a_step_are_not_taken() -> None:
    """Engines need not write a lost step alike again: what was written after the lost one is no continuation of the
    new one."""
    left = [row for row in rows_of(written()) if row["step"] != 1]
    second = fresh()
    replay([second], left)
    second.take([draft(1, [99], 0.8, True)])
    third = fresh()
    replay([third], left + [row for row in rows_of(second) if row["step"] == 1])
    assert [a.token_ids.tolist() for a in third.steps] == [[11, 12, 13], [99]]


def test_no_rows_leave_everything_to_do() -> None:
    t = fresh()
    replay([t], [])
    assert (t.attempts, t.scored, t.tokens, t.rounds) == ([], None, 0, 0)


def test_what_is_kept_already_is_left_out() -> None:
    """A checkpoint holds what its trajectories gained since the last one, of whatever step and round."""
    well, failed, late = written(), fresh("q"), fresh("r")
    take(failed, [draft(0, [11], 0.9, True)], 4)
    failed.fail("draft: no")
    take(late, [draft(0, [12], 0.8, True)], 9)
    table = steps_table(
        "run", 0, [well, failed, late], {well: (1, 4), failed: (1, len(failed.attempts)), late: (0, len(late.attempts))}
    )
    rows = [(r["problem_id"], r["step"], r["attempt"], r["wave"]) for r in table.to_pylist()]
    assert rows == [("p", 1, 0, 5), ("p", 1, 1, 5), ("p", 2, 0, 7), ("r", 0, 0, 9)]


def test_parts_that_were_kept_one_after_another_make_the_whole() -> None:
    t = written()
    parts: list[dict[str, Any]] = []
    for upto, kept in ((1, 0), (3, 1), (3, 3), (4, 3)):
        now = fresh()
        replay([now], rows_of(t)[:upto])
        parts += steps_table("run", 0, [now], {now: (kept, len(now.attempts))}).to_pylist()
    assert parts == rows_of(t)


def test_steps_of_many_attempts_come_back() -> None:
    """tasks/decoding/__init__.py promises methods any number of attempts at a step."""
    many = [draft(0, [1], 0.1, False), replace(draft(0, [2], 0.2, False), attempt=1), target(0, [3], attempt=2)]
    t = fresh()
    t.take(many)
    again = fresh()
    replay([again], rows_of(t))
    assert [a.token_ids.tolist() for a in again.attempts] == [[1], [2], [3]]


def test_a_step_without_all_its_candidates_is_written_again() -> None:
    """Also where the accepted one is not among those that are lost."""
    kept = [draft(0, [1], 0.9, True), replace(draft(0, [2], 0.2, False), attempt=1)]
    t = fresh()
    t.take(kept)
    whole, torn = fresh(), fresh()
    replay([whole], rows_of(t), proposals=2)
    replay([torn], rows_of(t)[:1], proposals=2)
    assert (len(whole.steps), len(torn.steps)) == (1, 0)


def test_steps_tables_of_an_older_release_can_be_read() -> None:
    rows = [{k: v for k, v in row.items() if k not in ("parent", "proposed")} for row in rows_of(written())]
    again = fresh()
    replay([again], rows)
    assert rows_of(again) == rows_of(written())


def test_guesses_of_a_draft_are_tokens_of_the_draft() -> None:
    t = fresh()
    take(t, [replace(target(0, [1, 2, 3], attempt=0, finish="eos"), proposed=9)], 0)
    t.status = "finished"
    problems = {"p": Problem("p", "?", None, None, None)}
    (row,) = solutions_table("run", 0, problems, [t], [Grade(None, None)], PARAMS).to_pylist()
    assert (row["draft_tokens"], row["draft_tokens_kept"], row["flops"]) == (9, 0, 2.0 * (10 * 9 + 100 * 3))


def test_what_is_picked_counts_by_itself() -> None:
    trajectories = [fresh("p", sample) for sample in range(3)]
    for t in trajectories:
        t.status = "finished"
    problems = {"p": Problem("p", "?", "2", None, None)}
    grades = [Grade("2", "correct"), Grade("3", "wrong"), Grade("2", "correct")]
    choice = Choice([False, True, False], [None, 0.5, None])
    table = solutions_table("run", 0, problems, trajectories, grades, PARAMS, choice)
    assert (table["picked"].to_pylist(), table["score"].to_pylist()) == (choice.picked, choice.scores)
    found = counts(table, steps_table("run", 0, trajectories), rejected=0)
    assert (found["correct"], found["with_reference"]) == (2, 3)
    assert (found["picked"], found["picked_correct"], found["picked_gradable"]) == (1, 0, 1)


# --- schemas


@pytest.mark.parametrize("schema", [SOLUTIONS, STEPS, REJECTED], ids=["solutions", "steps", "rejected"])
def test_every_column_is_described(schema: pa.Schema) -> None:
    for column in schema:
        about = (column.metadata or {})[b"description"].decode()
        assert about
        assert not about.startswith("?")


NULLS = {
    "solutions": {
        "reference",
        "answer",
        "correct",
        "verdict",
        "score",
        "error",
        "min_reward",
        "last_reward",
        "metadata",
    },
    "steps": {"parent", "reward", "threshold", "probability"},
    "rejected": {"problem_id", "problem"},
}


@pytest.mark.parametrize(("name", "schema"), [("solutions", SOLUTIONS), ("steps", STEPS), ("rejected", REJECTED)])
def test_nulls_are_allowed_where_something_may_be_missing_and_nowhere_else(name: str, schema: pa.Schema) -> None:
    assert {column.name for column in schema if column.nullable} == NULLS[name]


def test_tables_of_a_run_are_valid_and_have_no_null_that_is_not_allowed() -> None:
    failed = fresh("q")
    failed.fail("draft: no")
    problems = {i: Problem(i, "?", None, None, None) for i in ("p", "q")}
    trajectories = [written(), failed]
    solutions = solutions_table("run", 0, problems, trajectories, [Grade(None, None)] * 2, PARAMS)
    steps = steps_table("run", 0, trajectories)
    rejected = rejected_table("run", 0, [Rejected(3, "a.parquet", None, "problem is null", None)])
    for table, schema in ((solutions, SOLUTIONS), (steps, STEPS), (rejected, REJECTED)):
        table.validate(full=True)
        assert table.schema == schema
        for column in schema:
            assert column.nullable or table[column.name].null_count == 0, column.name


def test_empty_tables_have_the_same_schema() -> None:
    t = written()
    assert steps_table("run", 0, []).schema == steps_table("run", 0, [t], {t: (4, 4)}).schema == STEPS
    assert solutions_table("run", 0, {}, [], [], PARAMS).schema == SOLUTIONS
    assert rejected_table("run", 0, []).schema == REJECTED


def test_rejected_rows() -> None:
    rows = rejected_table("run", 2, [Rejected(3, "a.parquet", "x", "problem is empty", " ")]).to_pylist()
    assert rows == [
        {
            "run_id": "run",
            "shard": 2,
            "row": 3,
            "file": "a.parquet",
            "problem_id": "x",
            "reason": "problem is empty",
            "problem": " ",
        }
    ]


# --- a case by hand


def by_hand() -> tuple[pa.Table, pa.Table]:
    """Three trajectories: the one above; one cut short in its only step; one that failed after a step."""
    cut = fresh("q", 0)
    take(cut, [draft(0, [11, 12], 0.5, False, prm_tokens=5), target(0, [21, 22, 23], finish="length")], 4)
    cut.status = "max_tokens"
    failed = fresh("q", 1)
    take(failed, [draft(0, [11], 0.75, True, prm_tokens=4)], 4)
    failed.fail("target: no")
    problems = {
        "p": Problem("p", "1 + 1?", "2", None, '{"level": 3}'),
        "q": Problem("q", "why?", None, ["a", "b"], None),
    }
    trajectories = [written(), cut, failed]
    grades = [Grade("2", "correct"), Grade("b", None), Grade(None, None)]
    solutions = solutions_table("run", 7, problems, trajectories, grades, PARAMS)
    return solutions, steps_table("run", 7, trajectories)


def test_solutions_by_hand() -> None:
    whole, cut, failed = by_hand()[0].to_pylist()
    assert whole == {
        "run_id": "run",
        "shard": 7,
        "problem_id": "p",
        "sample": 0,
        "problem": "1 + 1?",
        "reference": "2",
        "solution": "d0.\n\nt1\n\nd2.\n\n",
        "answer": "2",
        "correct": True,
        "picked": True,
        "score": None,
        "verdict": "correct",
        "grader": GRADER,
        "status": "finished",
        "error": None,
        "steps": 3,
        "draft_steps": 2,
        "target_steps": 1,
        "draft_tokens": 3 + 2 + 1,
        "draft_tokens_kept": 3 + 1,
        "target_tokens": 4,
        "prm_tokens": 6 + 3,
        "min_reward": _float32(0.9),
        "last_reward": _float32(0.9),
        "flops": 2.0 * (10 * 6 + 100 * 4 + 1000 * 9),
        "metadata": '{"level": 3}',
    }
    expected = {"solution": "t0\n\n", "status": "max_tokens", "steps": 1, "draft_steps": 0, "target_steps": 1}
    expected |= {"draft_tokens": 2, "draft_tokens_kept": 0, "target_tokens": 3, "prm_tokens": 5}
    # the rejected draft's reward is no reward of the solution
    expected |= {"min_reward": None, "last_reward": None, "flops": 2.0 * (10 * 2 + 100 * 3 + 1000 * 5)}
    expected |= {"reference": None, "answer": "b", "correct": None, "error": None, "metadata": None}
    assert {name: cut[name] for name in expected} == expected
    expected = {"solution": "d0.\n\n", "status": "failed", "error": "target: no", "sample": 1, "steps": 1}
    expected |= {"draft_tokens": 1, "draft_tokens_kept": 1, "target_tokens": 0, "prm_tokens": 4, "last_reward": 0.75}
    assert {name: failed[name] for name in expected} == expected


def test_rewards_of_the_kept_steps() -> None:
    t = fresh()
    for step, reward in enumerate([0.75, 0.5, 0.625]):
        take(t, [draft(step, [1], reward, True)], step)
    take(t, [draft(3, [1], 0.125, False), target(3, [2])], 3)
    t.status = "max_steps"
    row = solutions_table("run", 0, {"p": Problem("p", "?", None, None, None)}, [t], [Grade(None, None)], PARAMS)
    assert (row["min_reward"].to_pylist(), row["last_reward"].to_pylist()) == ([0.5], [0.625])


def test_a_method_without_all_roles_counts_flops_of_those_it_has() -> None:
    t = fresh()
    take(t, [target(0, [1, 2, 3], attempt=0, finish="eos")], 0)
    t.status = "finished"
    problems = {"p": Problem("p", "?", None, None, None)}
    table = solutions_table("run", 0, problems, [t], [Grade(None, None)], {"target": 100.0})
    assert table["flops"].to_pylist() == [600.0]


def test_counts_by_hand() -> None:
    solutions, steps = by_hand()
    assert counts(solutions, steps, rejected=4) == {
        "solutions": 3,
        "rejected": 4,
        "finished": 1,
        "max_tokens": 1,
        "max_steps": 0,
        "failed": 1,
        "with_reference": 1,
        "graded": 1,
        "correct": 1,
        "picked": 3,
        "picked_gradable": 1,
        "picked_correct": 1,
        "unparsed": 0,
        "timeouts": 0,
        "bad_references": 0,
        "steps": 5,
        "draft_steps": 3,
        "target_steps": 2,
        "draft_tokens": 6 + 2 + 1,
        "draft_tokens_kept": 4 + 1,
        "target_tokens": 4 + 3,
        "prm_tokens": 9 + 5 + 4,
        "flops": 2.0 * (10 * 9 + 100 * 7 + 1000 * 18),
        "attempts": 7,
        "scored": 4,
        "reward_sum": pytest.approx(0.9 + 0.25 + 0.5 + 0.75, abs=1e-6),
    }


def test_counts_of_nothing() -> None:
    found = counts(solutions_table("run", 0, {}, [], [], PARAMS), steps_table("run", 0, []), rejected=2)
    assert found.pop("rejected") == 2
    assert set(found.values()) == {0}
