"""An engine's refusal is the fault of the one trajectory that it was for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tasks.decoding.models import Models
from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure, Trajectory

from .fakes import FakeScorer, FakeWriter
from .worlds import ONE_WAY, World, examples, run, solutions_rows, steps_rows, worlds


class Refusal:
    """Refuses one problem, from one of its requests on."""

    def __init__(self, problem: int, after: int) -> None:
        self.problem, self.left = problem, after
        self.refused = 0

    def __call__(self, prompt: list[int]) -> bool:
        if prompt[0] != self.problem:
            return False
        self.left -= 1
        self.refused += self.left < 0
        return self.left < 0


class RefusingWriter(FakeWriter):
    refuses: Refusal

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure]:
        results = await super().ask(asks)
        return [Failure("too hard") if self.refuses(a.prompt) else r for a, r in zip(asks, results, strict=True)]


class RefusingScorer(FakeScorer):
    refuses: Refusal

    async def ask(self, looks: Sequence[ScoreRequest], answered: Any = None) -> list[Scored | Failure]:
        results = await super().ask(looks)
        return [Failure("too hard") if self.refuses(a.prompt) else r for a, r in zip(looks, results, strict=True)]


def refusing(world: World, role: str, refuses: Refusal) -> Models:
    engine: RefusingScorer | RefusingWriter
    if role == "prm":
        engine = RefusingScorer()
    else:
        engine = RefusingWriter(role, world.vocabulary(role), world.eos_rate, seeds=world.seeds)
    engine.refuses = refuses
    return world.models({role: engine})


@examples(150)
@given(worlds(methods=ONE_WAY, samples=1, candidates=1), st.data())
def test_one_failure_touches_no_other_trajectory(world: World, data: st.DataObject) -> None:
    role = data.draw(st.sampled_from(world.roles))
    victim = data.draw(st.integers(0, len(world.problems) - 1))
    refuses = Refusal(1000 + victim, data.draw(st.integers(0, 4)))
    untouched = run(world)
    trajectories = run(world, refusing(world, role, refuses))
    assume(refuses.refused)

    others = [i for i in range(len(trajectories)) if i != victim]
    assert _of(world, trajectories, others) == _of(world, untouched, others)

    failed = trajectories[victim]
    assert (failed.status, failed.error) == ("failed", f"{role}: too hard")
    assert refuses.refused == 1, "a failed trajectory is not asked for again"
    # what it had is kept, and nothing of the step that failed
    assert steps_rows([failed]) == steps_rows([untouched[victim]])[: len(failed.attempts)]
    row = solutions_rows(world, [failed])[0]
    attempts = steps_rows([failed])
    assert row["status"] == "failed"
    assert row["steps"] == sum(a["accepted"] for a in attempts) == len({a["step"] for a in attempts})
    assert row["solution"] == "".join(a["text"] for a in attempts if a["accepted"])
    assert row["draft_tokens"] == sum(a["tokens"] for a in attempts if a["role"] == "draft")
    assert row["target_tokens"] == sum(a["tokens"] for a in attempts if a["role"] == "target")
    assert row["prm_tokens"] == sum(a["prm_tokens"] for a in attempts)


@examples(100)
@given(worlds(methods=["rsd", "process_best_of_n", "beam"], samples=1), st.data())
def test_one_refused_candidate_fails_its_own_trajectory_and_no_other(world: World, data: st.DataObject) -> None:
    role = data.draw(st.sampled_from(world.roles))
    victim = data.draw(st.integers(0, len(world.problems) - 1))
    refuses = Refusal(1000 + victim, data.draw(st.integers(0, 9)))
    untouched = run(world)
    trajectories = run(world, refusing(world, role, refuses))
    assume(refuses.refused)
    others = [i for i in range(len(trajectories)) if i != victim]
    assert _of(world, trajectories, others) == _of(world, untouched, others)
    failed = trajectories[victim]
    assert (failed.status, failed.error) == ("failed", f"{role}: too hard")
    # what it had is kept, and nothing of the step that failed; of a search the best beam so far is accepted
    kept = steps_rows([failed], "accepted")
    assert kept == steps_rows([untouched[victim]], "accepted")[: len(kept)]
    (row,) = solutions_rows(world, [failed])
    accepted = [a for a in steps_rows([failed]) if a["accepted"]]
    assert [a["step"] for a in accepted] == list(range(row["steps"]))
    assert row["solution"] == "".join(a["text"] for a in accepted)


def _of(world: World, trajectories: list[Trajectory], which: list[int]) -> object:
    some = [trajectories[i] for i in which]
    return steps_rows(some), solutions_rows(world, some)


@examples(30)
@given(worlds(samples=1), st.data())
def test_everything_failing_still_gives_a_row_each(world: World, data: st.DataObject) -> None:
    broken = World(**{**vars(world), "failure_rate": 1.0})
    trajectories = run(broken)
    for t, row in zip(trajectories, solutions_rows(broken, trajectories), strict=True):
        if row["status"] == "failed":
            assert row["error"] == f"{world.roles[0]}: refused"
        else:
            assert row["status"] == "max_tokens"  # there was no room to ask for anything
        assert (row["steps"], row["solution"], row["flops"], t.attempts) == (0, "", 0.0, [])
