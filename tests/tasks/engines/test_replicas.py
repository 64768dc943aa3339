"""A role that several engines serve: each problem has one replica, and results come back in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decoding.requests import StepRequest, Written
from tasks.engines.replicas import Replicas
from tasks.errors import EngineError


class Engine:
    def __init__(self, number: int, fault: Exception | None = None) -> None:
        self.number, self.fault = number, fault
        self.affinities: set[int] = set()
        self.dropped = False

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written]:
        assert asks, "an engine is not asked for nothing"
        self.affinities |= {ask.affinity for ask in asks}
        try:
            for _ in range(self.number + 1):
                await asyncio.sleep(0)
            if self.fault:
                raise self.fault
            if any(engine.fault for engine in ENGINES):
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.dropped = True
            raise
        return [Written([*ask.prompt, ask.affinity], "step") for ask in asks]


ENGINES: list[Engine] = []


def replicas(*engines: Engine) -> Any:
    ENGINES[:] = engines
    return Replicas(list(engines))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 2**32 - 1), max_size=30), st.integers(1, 5))
def test_results_come_back_in_order_and_each_affinity_has_one_engine(affinities: list[int], count: int) -> None:
    engines = [Engine(number) for number in range(count)]
    of = replicas(*engines)
    asks = [StepRequest([i], 9, 0, affinity) for i, affinity in enumerate(affinities)]
    for _ in range(2):
        written = asyncio.run(of.ask(asks))
        assert [w.token_ids for w in written] == [[i, affinity] for i, affinity in enumerate(affinities)]
    assert sum(len(engine.affinities) for engine in engines) == len(set(affinities))


def test_one_that_gives_up_ends_the_call_and_drops_the_others_part() -> None:
    broken, waiting = Engine(0, EngineError("it is gone")), Engine(1)
    with pytest.raises(EngineError, match="it is gone"):
        asyncio.run(replicas(broken, waiting).ask([StepRequest([1], 9, 0, 0), StepRequest([2], 9, 0, 1)]))
    assert waiting.dropped
