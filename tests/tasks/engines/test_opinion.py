"""Engine arguments that only vLLM can judge are told before a run, in its own words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engines.opinion import check_arguments
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError

DRAFT = Path(__file__).resolve().parents[3] / "deploy" / "demo" / "models" / "draft"
SPEC = EngineSpec("draft", str(DRAFT), "vllm", 512, {"enforce_eager": True, "kv_cache_memory_bytes": 64 << 20})


def asked(**arguments: Any) -> None:
    spec = replace(SPEC, arguments=SPEC.arguments | arguments)
    check_arguments([spec], {"draft": set(arguments)})


@pytest.mark.tier2
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"dtype": "float99"}, r"dtype.*'bfloat16'"),
        ({"quantization": "awq"}, r"Cannot find the config file for awq"),
        ({"dtype": "float32"}, None),
    ],
)
def test_vllm_is_asked_of_what_nobody_else_reads(arguments: dict[str, Any], told: str | None) -> None:
    if told is None:
        asked(**arguments)
        return
    with pytest.raises(
        UserError, match=rf"models\.draft\.engine: vLLM refuses the arguments that it would be started with: {told}"
    ):
        asked(**arguments)


def test_it_is_not_asked_of_what_the_plan_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", None)
    asked()
    asked(max_model_len=256, kv_cache_memory_bytes=1)
    check_arguments([replace(SPEC, kind="scripted")], {"draft": {"seconds"}})
