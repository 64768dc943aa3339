"""Arguments of an emulated engine that make no sense are told by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schemas.config import Config, EngineConfig
from tasks.configuration.identity import identity
from tasks.engines import check_engine
from tasks.engines.emulated.arguments import read_emulation
from tasks.engines.emulated.data_sheets import CARDS
from tasks.errors import UserError

from .conftest import Open

CARD = {"flops": 1e14, "bandwidth": 1e12, "memory": 1 << 34, "link": 1e10}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"card": "H10"}, "card: no data sheet of 'H10' is here: H100, H200, A100, L40S, RTX4090, or figures"),
        ({"card": {**CARD, "flops": 0}}, "card.flops: Input should be greater than 0"),
        ({"card": {"flops": 1e14}}, "card.bandwidth: Field required"),
        ({"card": {**CARD, "links": 2}}, "card.links: no argument of engine kind emulated; did you mean link?"),
        ({"card": 80}, "card: must be the name of a card, or a mapping with flops, bandwidth, memory and link"),
        ({"parameters": -7e9}, "parameters: Input should be greater than 0"),
        ({"speed": 0}, "speed: Input should be greater than 0"),
        ({"cache_token": 5}, "cache_token: no argument of engine kind emulated; did you mean cache_tokens?"),
        ({"gpu_memory_utilization": 0.9}, "gpu_memory_utilization: no argument of engine kind emulated"),
        ({"seconds": 3}, "seconds: no argument of engine kind emulated"),
        ({"bandwidth_reached": 1.1}, "bandwidth_reached: Input should be less than or equal to 1"),
        ({"device_ids": [0, -1]}, "device_ids.1: Input should be greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        check_engine("draft", EngineConfig(kind="emulated", **arguments), True)
    assert str(error.value).startswith(f"models.draft.engine.{told}")


def test_a_card_may_be_of_ones_own() -> None:
    sheet = read_emulation("draft", {"card": CARD}).sheet
    assert (sheet.flops, sheet.bandwidth, sheet.memory, sheet.link) == tuple(CARD.values())
    assert all(read_emulation("draft", {"card": name}).sheet == card for name, card in CARDS.items())


def test_an_engine_that_is_opened_without_a_plan_needs_the_sizes_of_its_model(opened: Open) -> None:
    with pytest.raises(UserError, match=r"models\.draft\.engine\.layers: is needed"):
        asyncio.run(opened(layers=None))


def test_only_what_is_answered_makes_another_run(configured: Any) -> None:
    def known(*arguments: str, kind: str = "emulated") -> dict[str, Any]:
        config: Config = configured(f"models.draft.engine={{kind: {kind}, {', '.join(arguments)}}}")
        return identity(config)

    usual = known("steps: 4")
    assert usual == known("steps: 4", kind="scripted")
    assert usual == known("steps: 4", "card: A100", "speed: 9", "block_size: 32", "cache_tokens: 9", "layers: 3")
    assert usual != known("steps: 5")
    assert usual != known("steps: 4", "tokens_per_step: 13")
