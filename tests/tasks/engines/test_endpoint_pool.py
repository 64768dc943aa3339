"""Which server is asked, and what becomes of one that fails. Real HTTP, made-up servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.decoding.trajectory import Failure
from tasks.engines import endpoint
from tasks.engines.endpoint_pool import weight
from tasks.engines.spec import Died

from .fake_server import FakeServer, refusal, written
from .openai_scenes import asks, opened, serving, supervised

pytestmark = pytest.mark.usefixtures("impatient")


async def test_a_problem_stays_at_its_endpoint_and_moves_only_while_that_is_away() -> None:
    some, said = asks(60), []

    def at(servers: list[FakeServer]) -> list[set[int]]:
        homes = [{body["prompt"][1] for body in server.bodies} for server in servers]
        for server in servers:
            server.bodies.clear()
        return homes

    async with serving(3) as servers, opened(servers, warn=said.append) as engine:
        expected = [written(ask) for ask in some]
        assert await engine.ask(some) == expected
        homes = at(servers)
        assert all(len(home) > 5 for home in homes)
        assert sum(map(len, homes)) == 60
        assert await engine.ask(some) == expected
        assert at(servers) == homes

        await servers[1].stop()
        assert await engine.ask(some) == expected
        first, _, third = at(servers)
        assert first >= homes[0]
        assert third >= homes[2]
        assert first | third == set(range(60))
        assert "is left out" in said[0]
        assert servers[1].url in said[0]

        await servers[1].start()
        await engine.pool.returning[servers[1].url]
        assert said[1] == f"the draft endpoint {servers[1].url} is back"
        assert await engine.ask(some) == expected
        assert at(servers) == homes


def test_few_problems_move_where_an_endpoint_is_added() -> None:
    urls = [f"http://{name}:8000" for name in "abc"]

    def home(problem: int, of: list[str]) -> str:
        return max(of, key=lambda url: weight(problem, url))

    moved = [p for p in range(300) if home(p, urls) != home(p, urls[:2])]
    assert all(home(p, urls) == urls[2] for p in moved)
    assert 60 < len(moved) < 140


@pytest.mark.parametrize("trouble", ["drop", 500, 502, 503, 504, 429, "abort"])
async def test_what_may_pass_is_asked_again(trouble: str | int) -> None:
    async with serving() as servers, opened(servers) as engine:
        server = servers[0]

        def once(prompt: list[int]) -> Any:
            if server.asked[tuple(prompt)] > 1 or prompt[1] != 2:
                return None
            return trouble if isinstance(trouble, str) else refusal(trouble)

        server.trouble = once
        assert await engine.ask(asks(3)) == [written(ask) for ask in asks(3)]
        assert server.asked[20, 2, 302] == 2


async def test_a_busy_server_is_asked_again_when_it_says_and_stays_in() -> None:
    said: list[str] = []
    async with serving() as servers, opened(servers, warn=said.append) as engine:
        server = servers[0]
        server.trouble = lambda p: refusal(429, **{"retry-after": "0.01"}) if server.asked[tuple(p)] < 4 else None
        assert await engine.ask(asks(3)) == [written(ask) for ask in asks(3)]
    assert not said


async def test_work_waits_for_a_server_that_is_away() -> None:
    async with serving() as servers, opened(servers) as engine:
        server = servers[0]
        server.trouble = lambda prompt: "hang"
        call = asyncio.create_task(engine.ask(asks(20)))
        await server.arrived.wait()
        await server.stop()
        server.trouble = lambda prompt: None
        await server.start()
        assert await call == [written(ask) for ask in asks(20)]


async def test_an_engine_dies_where_no_endpoint_is_there_for_its_patience() -> None:
    async with serving(2) as servers, opened(servers, patience=0.05) as engine:
        kept = await engine.ask(asks(5))
        for server in servers:
            await server.stop()
        (died, *others) = await engine.ask(asks(5))
        assert isinstance(died, Died)
        assert died.reason.startswith("all endpoints were away for 0.05 s: http://127.0.0.1:")
        assert set(others) == {died}
        assert engine.death == died
        assert await engine.ask(asks(2)) == [died] * 2
        for server in servers:
            await server.start()
    assert kept == [written(ask) for ask in asks(5)]


@pytest.mark.parametrize("trouble", ["drop", 500])
async def test_a_request_that_servers_break_on_is_found_and_given_up(trouble: str | int) -> None:
    some = asks(40)
    async with serving(2) as servers, supervised(servers) as draft:
        for server in servers:
            server.trouble = lambda p: None if p[1] != 17 else trouble if isinstance(trouble, str) else refusal(trouble)
        answers = await draft.ask(some)
        assert isinstance(answers[17], Failure)
        assert answers[17].error.startswith("the engine died on this: http://127.0.0.1:")
        assert [a for n, a in enumerate(answers) if n != 17] == [written(ask) for n, ask in enumerate(some) if n != 17]


async def test_a_request_that_ends_its_server_is_found_though_that_takes_time_to_come_back() -> None:
    async with serving() as servers, supervised(servers) as draft:
        server, restarts = servers[0], []

        async def again() -> None:
            await server.stop()
            await asyncio.sleep(0.05)  # it loads its model
            await server.start()

        def fatal(prompt: list[int]) -> str | None:
            if prompt[1] != 4:
                return None
            if not restarts or restarts[-1].done():
                restarts.append(asyncio.create_task(again()))
            return "drop"

        server.trouble = fatal
        answers = await draft.ask(asks(9))
        await asyncio.gather(*restarts)
        assert isinstance(answers[4], Failure)
        assert answers[:4] + answers[5:] == [written(ask) for ask in asks(9) if ask.seed != 4]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([None, None, "drop", "abort", 500, 502, 503, 429, 400]), max_size=60),
    st.integers(1, 3),
    st.integers(1, 16),
)
def test_whatever_befalls_the_servers_everybody_gets_their_own_answer(
    troubles: list[Any], number: int, concurrency: int
) -> None:
    refused: set[int] = set()

    async def scene() -> None:
        async with serving(number) as servers, supervised(servers, concurrency=concurrency) as draft:
            left, breaks = iter(troubles), []

            def trouble(prompt: list[int]) -> Any:
                found = 400 if prompt[1] in refused else next(left, None)
                if found not in (None, 400, 429, 503):
                    breaks.append(found)
                if len(breaks) > 7 and found == breaks[-1]:
                    return None  # with one more a request could by chance look like the cause
                if found == 400:
                    refused.add(prompt[1])
                return refusal(found, "no") if isinstance(found, int) else found

            for server in servers:
                server.trouble = trouble
            some = asks(24)
            halves = await asyncio.gather(draft.ask(some[:12]), draft.ask(some[12:]))
            for ask, answer in zip(some, [*halves[0], *halves[1]], strict=True):
                assert answer == (Failure("no") if ask.seed in refused else written(ask))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "FIRST_WAIT", 0.001)
        patch.setattr(endpoint, "LONGEST_WAIT", 0.002)
        asyncio.run(scene())
