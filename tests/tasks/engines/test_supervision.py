"""An engine's death costs time and nothing else; a request that engines die on costs itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.decoding.requests import StepRequest, Written
from tasks.decoding.trajectory import Failure
from tasks.engines.supervision import GROUP, PAUSE, Gate, Supervisor
from tasks.errors import EngineError
from tasks.models.model_files import Replaced

from .fakes import SECONDS, FakeEngine, World, answer, ask, play

GIVEN_UP = Failure("the engine died on this: it choked")
STALLED = Failure("the engine died on this: it gave no answer for 600 s")


async def together(supervisor: Supervisor, calls: Sequence[Sequence[StepRequest]]) -> list[list[Written | Failure]]:
    """The results of calls that are made at the same time; waits for all of them, whatever happens."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(supervisor.ask(asks)) for asks in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def solve(world: World, calls: Sequence[Sequence[StepRequest]], **limits: Any) -> list[list[Written | Failure]]:
    """The results of calls to a role's engine, from its start to its close."""

    async def scene() -> list[list[Written | Failure]]:
        supervisor = world.supervisor(**limits)
        await supervisor.open()
        try:
            return await together(supervisor, calls)
        finally:
            await supervisor.close()
            assert not world.alive

    return play(scene())


def problems(start: int, stop: int) -> list[StepRequest]:
    return [ask(problem) for problem in range(start, stop)]


def answers(asks: Sequence[StepRequest], but: dict[int, Failure] | None = None) -> list[Written | Failure]:
    return [(but or {}).get(a.prompt[0]) or answer(a) for a in asks]


# --- what is in flight when an engine dies


def test_only_what_a_death_left_unanswered_is_asked_again() -> None:
    world = World()
    world.deaths = {70}
    calls = [problems(0, 50), problems(50, 100)]
    assert solve(world, calls) == [answers(asks) for asks in calls]
    assert world.answers == 100
    assert len(world.asked) == 130
    assert world.started == 2
    assert world.said == [
        "the draft engine died: a passing cloud; starting it again (1 of 5), what is unanswered is asked again"
    ]


@pytest.mark.parametrize("what", ["crashing", "stalling"])
def test_one_bad_request_costs_four_restarts_and_nobody_else(what: str) -> None:
    """Two in company, one in its group, one by itself."""
    world = World()
    getattr(world, what).add((300, 0))
    calls = [problems(0, 256), problems(256, 512), problems(512, 768)]
    failure = GIVEN_UP if what == "crashing" else STALLED
    assert solve(world, calls) == [answers(asks, {300: failure}) for asks in calls]
    assert world.started == 1 + 4


def test_bad_requests_of_different_calls() -> None:
    world = World()
    world.crashing = {(3, 0), (70, 0)}
    world.stalling = {(50, 0)}
    calls = [problems(0, 40), problems(40, 80), problems(80, 120)]
    bad = {3: GIVEN_UP, 70: GIVEN_UP, 50: STALLED}
    assert solve(world, calls) == [answers(asks, bad) for asks in calls]
    assert world.started <= 1 + 2 + 2 * 3


def test_samples_that_begin_alike_cost_one_restart() -> None:
    world = World()
    world.crashing = {(5, 0)}
    asks = problems(0, 5) + [ask(5, seed=sample) for sample in range(8)]
    assert solve(world, [asks]) == [answers(asks, {5: GIVEN_UP})]
    assert world.started == 1 + 4


def test_more_bad_requests_in_a_row_than_an_engine_may_die() -> None:
    world = World()
    world.crashing = {(problem, 0) for problem in range(10, 10 + GROUP)}
    asks = problems(0, 2 * GROUP)
    bad = dict.fromkeys(range(10, 10 + GROUP), GIVEN_UP)
    assert solve(world, [asks], restarts=5) == [answers(asks, bad)]


def test_bad_requests_all_over_the_first_batch() -> None:
    """Before the engine has answered anything: each group's culprits cost deaths, but the others in it answer."""
    world = World()
    bad = [0, 1, 17, 35, 36, 63, 80]
    world.crashing = {(problem, 0) for problem in bad}
    asks = problems(0, 6 * GROUP)
    assert solve(world, [asks], restarts=5) == [answers(asks, dict.fromkeys(bad, GIVEN_UP))]


def test_a_refusal_is_the_requests_own() -> None:
    world = World()
    world.refused = {4}
    asks = problems(0, 9)
    assert solve(world, [asks]) == [answers(asks, {4: Failure("refused")})]
    assert world.started == 1


# --- engines that cannot be brought back


@pytest.mark.parametrize(
    ("restarts", "told"),
    [
        (0, "the draft engine died: it choked"),
        (5, "the draft engine died: it choked; 6 times now without an answer in between"),
    ],
)
def test_an_engine_that_only_dies_ends_the_run(restarts: int, told: str) -> None:
    world = World()
    world.crashing = {(problem, 0) for problem in range(100)}
    with pytest.raises(EngineError) as caught:
        solve(world, [problems(0, 50), problems(50, 100)], restarts=restarts)
    assert str(caught.value) == told
    assert world.started == 1 + restarts
    assert len(world.said) == restarts


def test_refusals_are_no_sign_of_life() -> None:
    world = World()
    world.refused = set(range(50))
    world.crashing = {(problem, 0) for problem in range(50, 100)}
    with pytest.raises(EngineError):
        solve(world, [problems(0, 100)])


def test_a_broken_engine_is_not_taken_for_a_bad_request() -> None:
    """It has answered before, and then dies on whatever it is asked: the last request of a run must not fail for it."""
    world = World()

    async def scene() -> None:
        supervisor = world.supervisor()
        await supervisor.open()
        try:
            await supervisor.ask(problems(0, 5))
            world.crashing = {(problem, 0) for problem in range(10)}
            with pytest.raises(EngineError):
                await supervisor.ask([ask(9)])
            with pytest.raises(EngineError):  # and it stays so, with no more restarts
                await supervisor.ask([ask(8)])
        finally:
            await supervisor.close()

    play(scene())
    assert world.started == 1 + 5


def test_an_engine_that_died_unasked_blames_nobody() -> None:
    """Each single request finds the engine dead that the one before it still got its answer from."""
    world = World()
    world.crashing = {(problem, 0) for problem in range(1, 16, 2)}
    world.deaths = set(range(1, 100))
    asks = problems(0, 16)
    assert solve(world, [asks]) == [answers(asks, dict.fromkeys(range(1, 16, 2), GIVEN_UP))]


def test_a_start_that_fails_is_tried_again_after_a_pause() -> None:
    world = World()
    world.deaths = {10}
    world.starts = [True, False, False]
    asks = problems(0, 20)

    async def scene() -> tuple[list[Written | Failure], float]:
        supervisor = world.supervisor()
        await supervisor.open()
        began = asyncio.get_running_loop().time()
        results = await supervisor.ask(asks)
        await supervisor.close()
        return results, asyncio.get_running_loop().time() - began

    results, seconds = play(scene())
    assert results == answers(asks)
    assert (world.started, world.failed_starts) == (2, 2)
    assert 300 + 2 * PAUSE <= seconds <= 300 + 2 * PAUSE + 20 * SECONDS
    assert [line.split(";")[0] for line in world.said] == [
        "the draft engine died: a passing cloud",
        "the draft engine did not start: no memory",
        "the draft engine did not start: no memory",
    ]


def test_starts_that_go_on_failing_end_the_run() -> None:
    world = World()
    world.deaths = {10}
    world.starts = [True] + [False] * 99
    with pytest.raises(EngineError, match=r"the draft engine did not start: no memory; 6 times now"):
        solve(world, [problems(0, 20)])
    assert world.failed_starts == 5


def test_an_engine_whose_model_was_replaced_is_not_started_again() -> None:
    world = World()
    world.deaths = {10}
    start = world.start

    async def start_once() -> Any:
        if world.started:
            raise Replaced("models.draft.model: /m was replaced")
        return await start()

    world.start = start_once  # type: ignore[method-assign]
    with pytest.raises(Replaced):
        solve(world, [problems(0, 20)])
    assert world.started == 1


@pytest.mark.parametrize("error", [EngineError("out of memory"), asyncio.CancelledError()])
def test_an_engines_error_is_its_death(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a cancellation that nobody asked for: a task group would take it for its member's quiet end."""
    world = World()
    usual, errors = FakeEngine.ask, iter([error])

    async def failing(self: FakeEngine, asks: Sequence[StepRequest], answered: Any) -> Any:
        if stray := next(errors, None):
            raise stray
        return await usual(self, asks, answered)

    monkeypatch.setattr(FakeEngine, "ask", failing)
    calls = [problems(0, 20), problems(20, 40)]
    assert solve(world, calls) == [answers(asks) for asks in calls]
    assert world.started == 2
    assert (str(error) or "it gave up requests that nobody had cancelled") in world.said[0]


# --- what is a stall, and what is not


def test_a_slow_engine_has_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer for an hour, but a token now and then."""

    async def slow(self: FakeEngine, asks: Sequence[StepRequest], answered: Any) -> Any:
        for _ in range(10):
            await asyncio.sleep(500)
            self.tokens += 1  # type: ignore[attr-defined]
        return [answer(a) for a in asks]

    monkeypatch.setattr(FakeEngine, "tokens", 0, raising=False)
    monkeypatch.setattr(FakeEngine, "ask", slow)
    monkeypatch.setattr(FakeEngine, "progress", lambda self: (self.answered, self.tokens))
    asks = problems(0, 3)
    world = World()
    assert solve(world, [asks]) == [answers(asks)]
    assert world.started == 1


def test_a_suspended_process_does_not_blame_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps past any patience while the answers lie unread."""

    async def suspended(self: FakeEngine, asks: Sequence[StepRequest], answered: Any) -> Any:
        asyncio.get_running_loop().now += 10_000  # type: ignore[attr-defined]
        for _ in range(20):
            await asyncio.sleep(0)
        return [self.death or answer(a) for a in asks]

    monkeypatch.setattr(FakeEngine, "ask", suspended)
    asks = problems(0, 3)
    world = World()
    assert solve(world, [asks]) == [answers(asks)]
    assert world.started == 1


# --- a run that ends


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 400))
def test_a_cancelled_run_starts_no_engine_and_leaves_nothing(seed: int, steps: int) -> None:
    """Whatever it is in the middle of: a batch, a restart, a quarantine."""
    world = World(seed)
    world.crashing, world.stalling, world.deaths = {(3, 0)}, {(20, 0)}, {1, 30}
    world.starts = [True, True, False]

    async def scene() -> None:
        supervisor = world.supervisor()
        await supervisor.open()
        calls = [problems(start, start + 10) for start in range(0, 30, 10)]
        run = asyncio.ensure_future(together(supervisor, calls))
        for _ in range(steps):
            await asyncio.sleep(0)
            if not asyncio.get_running_loop()._ready:  # type: ignore[attr-defined]
                await asyncio.wait([run], timeout=SECONDS)
        started, failed = world.started, world.failed_starts
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await run == [answers(asks, {3: GIVEN_UP, 20: STALLED}) for asks in calls]
        await supervisor.close()
        assert (world.started, world.failed_starts, world.alive) == (started, failed, 0)

    play(scene())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 2000))
def test_a_call_that_is_cancelled_holds_up_no_other(seed: int, moment: float) -> None:
    world = World(seed)
    world.crashing, world.deaths = {(3, 0), (15, 0)}, {1, 25}

    async def scene() -> None:
        supervisor = world.supervisor()
        await supervisor.open()
        calls = [asyncio.ensure_future(supervisor.ask(problems(i, i + 10))) for i in range(0, 30, 10)]
        await asyncio.wait(calls, timeout=moment)
        calls[0].cancel()
        await asyncio.wait(calls)
        await supervisor.close()
        if not calls[0].cancelled():
            assert calls[0].result() == answers(problems(0, 10), {3: GIVEN_UP})
        assert calls[1].result() == answers(problems(10, 20), {15: GIVEN_UP})
        assert calls[2].result() == answers(problems(20, 30))

    play(scene())


# --- the same answers as from an engine that lives


@st.composite
def troubles(draw: st.DrawFn) -> tuple[World, list[list[int]]]:
    """A world with engines that die, and its problems, split into calls."""
    world = World(draw(st.integers(0, 2**32)))
    size = draw(st.integers(1, 60))
    bad = st.tuples(st.integers(0, size - 1), st.integers(0, 2))
    world.crashing = draw(st.sets(bad, max_size=6))
    world.stalling = draw(st.sets(bad, max_size=3)) - world.crashing
    world.refused = draw(st.sets(st.integers(0, size - 1), max_size=2))
    world.deaths = draw(st.sets(st.integers(1, 3 * size), max_size=6))
    world.starts = [True, *draw(st.lists(st.booleans(), max_size=8))]
    cuts = sorted(draw(st.sets(st.integers(1, size), max_size=4)))
    ends = [0, *cuts, size]
    return world, [list(range(a, b)) for a, b in itertools.pairwise(ends) if a < b]


@settings(max_examples=300, deadline=None)
@given(troubles(), st.integers(1, 3))
def test_results_are_those_of_an_undisturbed_engine(trouble: tuple[World, list[list[int]]], waves: int) -> None:
    world, parts_of_it = trouble

    async def decode(supervisor: Supervisor, part: list[int]) -> dict[int, list[Written | Failure]]:
        found: dict[int, list[Written | Failure]] = {problem: [] for problem in part}
        for wave in range(waves):
            live = [p for p in part if not any(isinstance(r, Failure) for r in found[p])]
            results = await supervisor.ask([ask(problem, wave) for problem in live])
            for problem, result in zip(live, results, strict=True):
                found[problem].append(result)
        return found

    async def scene() -> dict[int, list[Written | Failure]]:
        supervisor = world.supervisor(restarts=10_000)
        await supervisor.open()
        parts = await asyncio.gather(*(decode(supervisor, part) for part in parts_of_it))
        await supervisor.close()
        assert not world.alive
        return {problem: results for part in parts for problem, results in part.items()}

    for problem, results in play(scene()).items():
        for wave, result in enumerate(results):
            if (problem, wave) in world.crashing:
                assert result == GIVEN_UP
            elif problem in world.refused:
                assert result == Failure("refused")
            elif (problem, wave) in world.stalling:
                assert result == STALLED
            else:
                assert result == answer(ask(problem, wave))
        assert len(results) == waves or isinstance(results[-1], Failure)


# --- the gate


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_who_is_alone_is_alone(visits: list[tuple[bool, int, int]]) -> None:
    inside: list[bool] = []

    async def visit(gate: Gate, alone: bool, wait: int, stay: int) -> None:
        await asyncio.sleep(wait)
        async with gate.alone() if alone else gate.company():
            inside.append(alone)
            assert len(inside) == 1 or not any(inside)
            await asyncio.sleep(stay)
            inside.remove(alone)

    async def scene() -> None:
        gate = Gate()
        async with asyncio.timeout(200):
            await asyncio.gather(*(visit(gate, *each) for each in visits))

    play(scene())
