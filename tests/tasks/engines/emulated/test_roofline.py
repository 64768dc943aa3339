"""An engine alone takes what the closed form of a roofline says, over batch, context and prefill."""

from __future__ import annotations

import asyncio
from array import array
from itertools import product

import pytest

from tasks.decoding.requests import GREEDY, ScoreRequest, StepRequest, Written
from tasks.engines.emulated.data_sheets import CARDS

from .conftest import SEVEN, Open

PARAMETERS, LAYERS, KV = 7.6e9, 28, 57_344


def closed(tokens: float, context: float, card: str = "H100", cards: int = 1) -> float:
    """Seconds of an iteration, independently of the product."""
    sheet = CARDS[card]
    bandwidth, flops = cards * 0.7 * sheet.bandwidth, cards * 0.5 * sheet.flops
    products = max(2 * PARAMETERS / bandwidth, 2 * PARAMETERS * tokens / flops)
    return products + KV * context / bandwidth + 2e-3 + LAYERS * (1e-5 if cards == 1 else 4e-5)


@pytest.mark.parametrize(("batch", "context"), [*product([1, 16, 256, 512], [16, 512, 2048])])
def test_writing(batch: int, context: int, opened: Open) -> None:
    """Everybody goes on from the same text, of which all but the last block is cached."""
    written = 50

    async def scene() -> tuple[float, float]:
        engine = await opened(tokens_per_step=1000)
        prompt = array("i", range(context))
        ask = StepRequest(prompt, written, 0, 0, GREEDY)
        await engine.ask([ScoreRequest(prompt)])
        began = engine.machine.time
        answers = await engine.ask([ask] * batch)
        assert {len(answer.token_ids) for answer in answers if isinstance(answer, Written)} == {written}
        seconds = engine.machine.time - began
        await engine.close()
        return began, seconds

    read, seconds = asyncio.run(scene())
    assert read == pytest.approx(closed(context, context), rel=1e-6)
    decoding = sum(closed(batch, batch * (context + n)) for n in range(1, written))
    assert seconds == pytest.approx(closed(batch * 16, batch * context) + decoding, rel=1e-6)


@pytest.mark.parametrize(("batch", "prompt"), [*product([1, 32, 300], [64, 500, 3000])])
def test_reading(batch: int, prompt: int, opened: Open) -> None:
    """Prompts of which nothing is cached are read in full iterations, cut where they do not fit."""

    async def scene() -> float:
        engine = await opened(cache_tokens=1 << 22)
        await engine.ask([ScoreRequest(array("i", range(n, n + prompt))) for n in range(batch)])
        seconds = engine.machine.time
        await engine.close()
        return seconds

    whole, rest = divmod(batch * prompt, 8192)
    seconds = whole * closed(8192, 8192) + (closed(rest, rest) if rest else 0.0)
    assert asyncio.run(scene()) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(("card", "cards"), [*product(CARDS, [1, 4])])
def test_cards(card: str, cards: int, opened: Open) -> None:
    async def scene() -> float:
        engine = await opened(card=card, tensor_parallel_size=cards, tokens_per_step=1000)
        await engine.ask([StepRequest(array("i", range(16)), 100, 0)] * 8)
        seconds = engine.machine.time
        await engine.close()
        return seconds

    decoding = sum(closed(8, 8 * (16 + n), card, cards) for n in range(1, 100))
    assert asyncio.run(scene()) == pytest.approx(closed(8 * 16, 8 * 16, card, cards) + decoding, rel=1e-6)


def test_the_sizes_are_those_of_the_fixture() -> None:
    assert SEVEN | {"parameters": PARAMETERS, "layers": LAYERS, "kv_bytes_per_token": KV} == SEVEN
