"""Which sample is picked: cases by hand, and what holds of all."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import DecodingConfig
from tasks.decoding.picking import Sample, best_of_n, majority, score
from tasks.decoding.trajectory import Attempt, Trajectory

from .worlds import examples

SETTINGS = DecodingConfig(method="majority")
BEST = DecodingConfig(method="best_of_n")
WEIGHTED = DecodingConfig(method="best_of_n", pick="weighted")


def samples(*votes: tuple[int | None, float | None] | int | None, failed: tuple[int, ...] = ()) -> list[Sample]:
    """Each vote an answer, or an answer and its score."""
    found = []
    for i, vote in enumerate(votes):
        answer, value = vote if isinstance(vote, tuple) else (vote, None)
        found.append(Sample("failed" if i in failed else "finished", answer, value))
    return found


@pytest.mark.parametrize(
    ("votes", "failed", "picked"),
    [
        ((0, 1, 1), (), 1),
        ((0, 1, 1, 0), (), 0),  # a tie goes to the answer that came first
        ((1, 0, 0, 1, 2), (), 0),
        ((None, None, 3), (), 2),  # no answer, no vote
        ((0, 0, 1, 1, 1), (3, 4), 0),  # nor where it failed
        ((None, None), (), 0),
        ((None, None), (0,), 1),
        ((0, 0), (0, 1), 0),
    ],
)
def test_majority(votes: tuple[int | None, ...], failed: tuple[int, ...], picked: int) -> None:
    assert majority(samples(*votes, failed=failed), SETTINGS) == picked


@pytest.mark.parametrize(
    ("votes", "failed", "best", "weighted"),
    [
        (((0, 0.5), (1, 0.9), (1, 0.1)), (), 1, 1),
        (((0, 0.5), (1, 0.9), (0, 0.6)), (), 1, 2),  # 1.1 against 0.9
        (((0, 0.5), (0, 0.5)), (), 0, 0),
        (((0, 0.5), (1, 0.9)), (1,), 0, 0),
        (((None, 0.9), (1, 0.2)), (), 0, 1),
        (((None, 0.2), (None, 0.9)), (), 1, 1),
        (((0, None), (1, 0.0)), (), 1, 0),  # nothing was scored of the first
    ],
)
def test_best_of_n(votes: tuple, failed: tuple[int, ...], best: int, weighted: int) -> None:
    assert best_of_n(samples(*votes, failed=failed), BEST) == best
    assert best_of_n(samples(*votes, failed=failed), WEIGHTED) == weighted


def test_what_was_cut_off_is_picked_only_where_nothing_finished() -> None:
    cut, done = Sample("max_tokens", None, 0.9), Sample("finished", None, 0.1)
    assert best_of_n([cut, done], BEST) == 1
    assert best_of_n([cut, cut], BEST) == 0


@pytest.mark.parametrize(("aggregation", "expected"), [("last", 0.5), ("min", 0.25), ("prod", 0.09375), ("mean", 0.5)])
def test_scores_put_the_rewards_of_steps_together(aggregation: str, expected: float) -> None:
    t = Trajectory("p", 0, {})
    for step, reward in enumerate([0.75, 0.25, 0.5, None]):
        t.take([Attempt(step, 0, "draft", "a\n\n", array("i", [1]), "step", 0, reward=reward, accepted=True)])
    settings = DecodingConfig.model_validate({"method": "best_of_n", "aggregation": aggregation})
    assert score(t, settings) == pytest.approx(expected)
    assert score(Trajectory("p", 0, {}), settings) is None


answers = st.one_of(st.none(), st.integers(0, 3))
scores = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
several = st.lists(
    st.builds(Sample, st.sampled_from(["finished", "max_tokens", "failed"]), answers, scores), min_size=1
)


@examples(200)
@given(several)
def test_majority_picks_an_answer_that_none_beats(found: list[Sample]) -> None:
    picked = found[majority(found, SETTINGS)]
    votes = [s.answer for s in found if s.answer is not None and s.status != "failed"]
    if votes:
        assert picked.status != "failed"
        assert votes.count(picked.answer) == max(votes.count(v) for v in votes)


@examples(200)
@given(several, st.sampled_from([BEST, WEIGHTED]))
def test_one_is_picked_that_did_not_fail(found: list[Sample], settings: DecodingConfig) -> None:
    at = best_of_n(found, settings)
    assert 0 <= at < len(found)
    assert found[at].status != "failed" or all(s.status == "failed" for s in found)
