"""What a configuration says of a role that is served elsewhere, and what follows for the plan of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.config import Config
from tasks.configuration.identity import differences, fingerprint
from tasks.engines.served import Served, read_key, read_served
from tasks.errors import UserError
from tasks.planning.plan import check_engine_arguments, plan_roles

A, B = "http://a:8000", "https://b/behind/a/proxy"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "endpoints: Field required"),
        ({"endpoint": [A]}, "endpoint: no argument of engine kind openai; did you mean endpoints?"),
        ({"endpoints": [A], "tensor_parallel_size": 2}, "tensor_parallel_size: no argument of engine kind openai; the"),
        ({"endpoints": []}, "endpoints: List should have at least 1 item"),
        ({"endpoints": A}, "endpoints: Input should be a valid list"),
        ({"endpoints": [A, "b:8000"]}, "endpoints.1: must read http://host:port or https://host"),
        ({"endpoints": ["http://a:8000?x=1"]}, "endpoints.0: must read"),
        ({"endpoints": ["http://a:99999"]}, "endpoints.0: Port out of range"),
        ({"endpoints": [A, A + "/v1/"]}, "endpoints: names an endpoint twice"),
        ({"endpoints": [A], "concurrency": 0}, "concurrency: Input should be greater"),
        ({"endpoints": [A], "timeout": "soon"}, "timeout: Input should be a valid number"),
        ({"endpoints": [A], "api_key_env": "my-key"}, "api_key_env: must name an environment variable"),
    ],
)
def test_arguments_that_are_wrong_are_told_by_name(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_served("target", arguments)
    assert str(caught.value).startswith(f"models.target.engine.{told}")
    assert "my-key" not in str(caught.value)


def test_addresses_may_end_as_clients_of_the_protocol_write_them() -> None:
    assert read_served("draft", {"endpoints": [A + "/v1/", B + "/v1", "http://c/"]}).endpoints == [A, B, "http://c"]


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(endpoints=[A], api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UserError, match=r"models\.draft\.engine\.api_key_env: .* SOME_KEY is not set"):
        read_key("draft", served)
    monkeypatch.setenv("SOME_KEY", "secret")
    assert read_key("draft", served) == "secret"
    assert read_key("draft", Served(endpoints=[A])) is None


def test_where_a_model_is_served_does_not_make_another_run(configured: Callable[..., Config]) -> None:
    here = configured("models.target.engine={kind: vllm}")
    there = configured(
        "models.target.engine={kind: openai, endpoints: [http://a:8000], model: big, concurrency: 7, "
        "api_key_env: SOME_KEY, timeout: 5, patience: 6}"
    )
    assert differences(here, there) == []
    assert fingerprint(here) == fingerprint(there)
    shorter = configured("models.target.engine={kind: openai, endpoints: [http://a:8000], max_model_len: 99}")
    assert differences(here, shorter) == ["models.target.engine.max_model_len: null there, 99 here"]
    scripted = configured("models.target.engine={kind: scripted}")
    assert differences(there, scripted) == ['models.target.engine.kind: "vllm" there, "scripted" here']


def test_a_role_served_elsewhere_takes_nothing_of_this_machine(
    configured: Callable[..., Config], models: Path, tmp_path: Path
) -> None:
    """Neither memory nor weights: of its checkpoint only the tokenizer and the configuration are here."""
    for role in ("draft", "target"):
        shutil.copytree(models / role, tmp_path / role, ignore=shutil.ignore_patterns("*.safetensors"))
    config = configured(
        *(f"models.{role}.model={tmp_path / role}" for role in ("draft", "target")),
        *(
            f"models.{role}.engine={{kind: openai, endpoints: [http://a:8000], max_model_len: 512}}"
            for role in ("draft", "target", "prm")
        ),
        "models.draft.params=1e9",
    )
    check_engine_arguments(config)
    roles, _ = plan_roles(config)
    assert {role: plan.share for role, plan in roles.items()} == dict.fromkeys(("draft", "target", "prm"))
    assert {plan.engine.window for plan in roles.values()} == {512}
    assert roles["draft"].params == 1e9
    whole, _ = plan_roles(configured())
    assert roles["target"].params == whole["target"].params
    assert roles["prm"].params == whole["prm"].params


def test_parameters_that_cannot_be_known_are_asked_for(
    configured: Callable[..., Config], models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "target", tmp_path / "target", ignore=shutil.ignore_patterns("*.safetensors"))
    file = tmp_path / "target" / "config.json"
    file.write_text(file.read_text().replace('"qwen2"', '"unheard_of"'))
    served = "models.target.engine={kind: openai, endpoints: [http://a:8000]}"
    config = configured(f"models.target.model={tmp_path / 'target'}", served, "decoding.method=target")
    with pytest.raises(UserError, match=r"^models\.target\.model: .*; set models\.target\.params$"):
        plan_roles(config)
