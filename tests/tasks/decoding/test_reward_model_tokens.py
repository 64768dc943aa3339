"""`prm_tokens`: the tokens that the PRM had to score beyond what it had already seen of the trajectory.

Seen is the longest beginning that a prompt shares with an earlier prompt of the same trajectory.
"""

from __future__ import annotations

from hypothesis import given

from .worlds import World, examples, run, worlds


def shared(a: list[int], b: list[int]) -> int:
    """Length of the longest common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@examples(80)
@given(worlds(methods=["rsd"], candidates=1))
def test_what_was_scored_and_kept_is_not_scored_again(world: World) -> None:
    """The first score reads the prompt; after a kept step only the next one is new, after a rewritten one both are."""
    for t in run(world):
        before = None
        for a in (a for a in t.attempts if a.reward is not None):
            own = len(a.read_as["prm"]) + len(world.format().tail)  # the tail is read anew each time
            if before is None:
                assert a.prm_tokens == len(world.prompt("prm", t.problem_id)) + own
            elif before.accepted:
                assert a.prm_tokens == own
            else:
                assert a.prm_tokens == own + len(t.steps[before.step].read_as["prm"])
            before = a


@examples(80)
@given(worlds(methods=["rsd", "best_of_n", "process_best_of_n"]))
def test_what_candidates_have_in_common_counts_once(world: World) -> None:
    """All tokens counted of a trajectory are its prompt, once, each scored attempt's own, and the rewritten steps."""
    for t in run(world):
        scored = [a for a in t.attempts if a.reward is not None]
        if not scored:
            continue
        known = {a.step for a in scored if a.accepted}
        unread = [a for a in t.steps[: scored[-1].step] if a.step not in known]
        unlike = {(a.step, *a.token_ids): a for a in reversed(scored)}.values()  # equal candidates are read once
        own = sum(len(a.read_as["prm"]) for a in [*unlike, *unread]) + len(unlike) * len(world.format().tail)
        assert sum(a.prm_tokens for a in t.attempts) == len(world.prompt("prm", t.problem_id)) + own


@examples(80)
@given(worlds(methods=["beam"]))
def test_a_beam_is_read_once(world: World) -> None:
    for t in run(world):
        scored = [a for a in t.attempts if a.reward is not None]
        prompt = len(world.prompt("prm", t.problem_id)) if scored else 0
        unlike = {(a.step, a.parent, *a.token_ids): a for a in reversed(scored)}.values()
        tails = len(unlike) * len(world.format().tail)
        assert sum(a.prm_tokens for a in scored) == prompt + sum(len(a.read_as["prm"]) for a in unlike) + tails
