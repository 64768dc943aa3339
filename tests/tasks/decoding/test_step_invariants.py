"""What every solution and its steps hold, whatever the models write: read off the tables' rows alone."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given

from .worlds import PARAMS, Row, World, examples, run, solutions_rows, steps_rows, worlds

Key = tuple[str, int]


def tables(world: World) -> tuple[list[Row], dict[Key, list[Row]]]:
    trajectories = run(world)
    steps: dict[Key, list[Row]] = defaultdict(list)
    for row in steps_rows(trajectories):
        steps[row["problem_id"], row["sample"]].append(row)
    return solutions_rows(world, trajectories), steps


def key(solution: Row) -> Key:
    return solution["problem_id"], solution["sample"]


@examples(80)
@given(worlds(failures=True))
def test_one_solution_for_every_problem_and_sample(world: World) -> None:
    solutions, _ = tables(world)
    expected = [(p, sample) for p in world.problems for sample in range(world.settings.samples)]
    assert sorted(map(key, solutions)) == sorted(expected)


@examples(150)
@given(worlds(failures=True))
def test_each_step_of_a_solution_has_one_accepted_attempt(world: World) -> None:
    solutions, steps = tables(world)
    for solution in solutions:
        by_step: dict[int, list[Row]] = defaultdict(list)
        for row in steps[key(solution)]:
            by_step[row["step"]].append(row)
        assert list(by_step) == list(range(len(by_step)))
        if world.settings.method != "beam":  # where beams that lost may go on
            assert len(by_step) == solution["steps"]
        for step, attempts in by_step.items():
            assert [a["attempt"] for a in attempts] == list(range(len(attempts)))
            assert sum(a["accepted"] for a in attempts) == (step < solution["steps"])


@examples(150)
@given(worlds(failures=True))
def test_accepted_texts_concatenate_to_the_solution(world: World) -> None:
    solutions, steps = tables(world)
    for solution in solutions:
        accepted = [a["text"] for a in steps[key(solution)] if a["accepted"]]
        assert "".join(accepted) == solution["solution"]


@examples(150)
@given(worlds(failures=True))
def test_counts_are_sums_over_steps(world: World) -> None:
    solutions, steps = tables(world)
    for solution in solutions:
        rows = steps[key(solution)]
        kept = [r for r in rows if r["accepted"]]
        rewards = [r["reward"] for r in kept if r["reward"] is not None]
        sums = {
            "steps": len(kept),
            "draft_steps": sum(r["role"] == "draft" for r in kept),
            "target_steps": sum(r["role"] == "target" for r in kept),
            "draft_tokens": sum(len(r["token_ids"]) for r in rows if r["role"] == "draft"),
            "draft_tokens_kept": sum(len(r["token_ids"]) for r in kept if r["role"] == "draft"),
            "target_tokens": sum(len(r["token_ids"]) for r in rows if r["role"] == "target"),
            "prm_tokens": sum(r["prm_tokens"] for r in rows),
            "min_reward": min(rewards, default=None),
            "last_reward": rewards[-1] if rewards else None,
        }
        assert {name: solution[name] for name in sums} == sums
        assert solution["flops"] == 2 * sum(PARAMS[r] * sums[f"{r}_tokens"] for r in PARAMS)
        assert all(r["tokens"] == len(r["token_ids"]) for r in rows)


@examples(150)
@given(worlds(failures=True))
def test_status_says_why_the_last_step_was_the_last(world: World) -> None:
    solutions, steps = tables(world)
    for solution in solutions:
        kept = [r for r in steps[key(solution)] if r["accepted"]]
        assert all(r["finish"] == "step" for r in kept[:-1])
        last = kept[-1]["finish"] if kept else "step"
        match solution["status"]:
            case "finished":
                assert last == "eos"
            case "max_steps":
                assert (last, len(kept)) == ("step", world.settings.max_steps)
            case "max_tokens":
                assert last in ("length", "step")
            case status:
                assert (status, last) == ("failed", "step")
        assert (solution["error"] is not None) == (solution["status"] == "failed")
        assert len(kept) <= world.settings.max_steps


@examples(150)
@given(worlds(failures=True))
def test_no_solution_keeps_more_tokens_than_it_may(world: World) -> None:
    solutions, steps = tables(world)
    for solution in solutions:
        assert sum(r["tokens"] for r in steps[key(solution)] if r["accepted"]) <= world.settings.max_tokens


@examples(80)
@given(worlds(methods=["rsd"]))
def test_max_tokens_is_given_only_where_no_token_more_would_fit(world: World) -> None:
    """Without a window in the way it is the budget that is spent, to the last token."""
    wide = World(**{**vars(world), "windows": dict.fromkeys(world.windows, 10_000)})
    solutions, steps = tables(wide)
    for solution in solutions:
        if solution["status"] == "max_tokens":
            kept = sum(r["tokens"] for r in steps[key(solution)] if r["accepted"])
            assert kept == wide.settings.max_tokens


@examples(80)
@given(worlds(methods=["rsd"]))
def test_drafts_are_judged_and_targets_are_not(world: World) -> None:
    solutions, steps = tables(world)
    for solution in solutions:
        rows = steps[key(solution)]
        count = world.settings.candidates
        assert all((r["role"] == "target") == (r["attempt"] == count) for r in rows)
        judged = [r for r in rows if r["probability"] is not None]
        assert [r["step"] for r in judged] == sorted({r["step"] for r in judged}), "one a step"
        for r in judged:
            rewards = [o["reward"] for o in rows if o["step"] == r["step"] and o["reward"] is not None]
            assert r["reward"] == max(rewards)
        assert all(r in judged for r in rows if r["accepted"] and r["reward"] is not None)
        assert all(r["reward"] is None and r["prm_tokens"] == 0 for r in rows if r["role"] == "target")
        unscored = [r for r in rows if r["role"] == "draft" and r["reward"] is None and r["accepted"]]
        # only for want of room in the PRM's window, and then nothing comes after it
        assert all(r["step"] == rows[-1]["step"] and r["attempt"] == 0 for r in unscored)


@examples(40)
@given(worlds(methods=["target", "draft", "speculative", "majority"]))
def test_one_model_alone_writes_every_step_at_first_try(world: World) -> None:
    _, steps = tables(world)
    (role,) = world.roles
    for rows in steps.values():
        assert all(r["role"] == role and r["accepted"] and r["attempt"] == 0 for r in rows)
        assert all(r["reward"] is r["threshold"] is r["probability"] is None for r in rows)


@examples(80)
@given(worlds(methods=["process_best_of_n"]))
def test_of_the_candidates_the_best_is_kept(world: World) -> None:
    _, steps = tables(world)
    for rows in steps.values():
        for r in (r for r in rows if r["accepted"]):
            others = [-1.0 if o["reward"] is None else o["reward"] for o in rows if o["step"] == r["step"]]
            assert len(others) == world.settings.candidates
            assert others.index(max(others)) == r["attempt"]


@examples(80)
@given(worlds(methods=["beam"], failures=True))
def test_a_tree_has_the_beams_that_were_asked_for(world: World) -> None:
    """Each attempt continues one of the step before, the winner's each other; nothing goes on from an end."""
    _, steps = tables(world)
    for rows in steps.values():
        at = {(r["step"], r["attempt"]): r for r in rows}
        for r in rows:
            assert (r["parent"] is None) == (r["step"] == 0)
            if r["step"]:
                before = at[r["step"] - 1, r["parent"]]
                assert before["finish"] == "step"
                assert before["accepted"] or not r["accepted"]
        for step in {r["step"] for r in rows}:
            parents = [r["parent"] for r in rows if r["step"] == step]
            assert len(set(parents)) <= (world.settings.beams if step else 1)
            assert all(parents.count(p) == world.settings.candidates for p in parents)
        continued = [tuple(_path(at, at[r["step"] - 1, r["parent"]])) for r in rows if r["step"]]
        texts = {tuple(_path(at, r)) for r in rows}
        assert len(set(continued)) * world.settings.candidates == len(continued), "two beams of one text"
        assert set(continued) <= texts


@examples(80)
@given(worlds(methods=["beam"], failures=True))
def test_in_the_table_every_step_of_a_search_has_its_accepted_attempt(world: World) -> None:
    """What losing beams wrote beyond the last step stands there, and still continues what it continued."""
    for t in run(world):
        at = {(a.step, a.attempt): a for a in t.attempts}
        continued = [None if a.parent is None else at[a.step - 1, a.parent] for a in t.attempts]
        last = len(t.steps) - 1
        beyond = {id(a) for a in t.attempts if a.step > last}
        t.tidy()
        t.tidy()
        now = {(a.step, a.attempt): a for a in t.attempts}
        assert len(now) == len(t.attempts)
        for step in range(last + 1):
            assert sum(a.accepted for a in t.attempts if a.step == step) == 1
            numbers = [a.attempt for a in t.attempts if a.step == step]
            assert numbers == list(range(len(numbers)))
        assert all(a.step <= last for a in t.attempts)
        for a, before in zip(t.attempts, continued, strict=True):
            if before is not None:
                assert a.parent is not None
                assert now[a.step if id(before) in beyond or id(a) in beyond else a.step - 1, a.parent] is before


def _path(at: dict[tuple[int, int], Row], row: Row) -> list[int]:
    before = _path(at, at[row["step"] - 1, row["parent"]]) if row["step"] else []
    return before + row["token_ids"]
