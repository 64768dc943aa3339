"""What engines on GPUs are started with, beside their memory."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.config import Config
from tasks.engines import arguments
from tasks.engines.arguments import BATCHED_TOKENS, MOST_SEQUENCES, vllm_arguments, vllm_environment
from tasks.engines.shares import Share
from tasks.engines.worker import PROMISED

WRITES: dict[str, Any] = {}
SCORES = {"runner": "pooling"}


def started(monkeypatch: pytest.MonkeyPatch, window: int, of_method: dict[str, Any], **own: Any) -> dict[str, Any]:
    monkeypatch.setattr(arguments, "on_cpu", lambda: False)
    models = {role: {"model": role, "engine": own} for role in ("draft", "target", "prm")}
    config = Config.model_validate({"input": {"path": "x"}, "output": {"path": "y"}, "models": models})
    return vllm_arguments("target", config, window, Share("gpu 0", 1, 1, 1, {}), of_method)


@pytest.mark.parametrize(
    ("window", "of_method", "own", "tokens"),
    [
        (4096, WRITES, {}, BATCHED_TOKENS),
        (131_072, WRITES, {}, BATCHED_TOKENS),
        (4096, SCORES, {}, BATCHED_TOKENS),
        (4096, WRITES, {"enable_chunked_prefill": False}, BATCHED_TOKENS),
        # where contexts may have to be read whole, and by arguments that make it vLLM's to say
        (131_072, WRITES, {"enable_chunked_prefill": False}, None),
        (131_072, SCORES, {}, None),
        (4096, WRITES, {"performance_mode": "throughput"}, None),
        (4096, WRITES, {"all2all_backend": "deepep_low_latency"}, None),
        (4096, WRITES, {"max_num_batched_tokens": 256}, 256),
        (4096, WRITES, {"max_num_batched_tokens": 65_536}, 65_536),
    ],
)
def test_tokens_of_an_iteration(
    monkeypatch: pytest.MonkeyPatch, window: int, of_method: dict[str, Any], own: dict[str, Any], tokens: int | None
) -> None:
    found = started(monkeypatch, window, of_method, **own)
    assert found.get("max_num_batched_tokens") == tokens
    assert found["max_num_seqs"] == min(MOST_SEQUENCES, tokens or MOST_SEQUENCES)


def test_the_users_own_number_of_sequences_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch, 4096, WRITES, max_num_seqs=7)["max_num_seqs"] == 7


@pytest.mark.parametrize(
    ("named", "given"),
    [(None, None), ("", "stepwave"), ("other", "other,stepwave"), ("stepwave", "stepwave"), ("a,b", "a,b,stepwave")],
)
def test_a_list_of_plugins_to_load_does_not_leave_ours_out(
    named: str | None, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    if named is not None:
        monkeypatch.setenv("VLLM_PLUGINS", named)
    models = {role: {"model": role} for role in ("draft", "target", "prm")}
    config = Config.model_validate({"input": {"path": "x"}, "output": {"path": "y"}, "models": models})
    assert vllm_environment(config).get("VLLM_PLUGINS") == given
    assert "VLLM_PLUGINS" in PROMISED
