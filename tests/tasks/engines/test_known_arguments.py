"""Engine arguments: each of vLLM's is passed on with its effect, or refused with the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from schemas.config import Config
from tasks.engines.arguments import vllm_arguments
from tasks.engines.known_arguments import DECIDED, PASSED, WRITERS_ALONE, check_argument
from tasks.engines.shares import Share
from tasks.errors import UserError
from tasks.planning.plan import check_engine_arguments


def test_every_argument_of_vllm_is_decided_on() -> None:
    arg_utils = pytest.importorskip("vllm.engine.arg_utils")
    theirs = {field.name for field in dataclasses.fields(arg_utils.AsyncEngineArgs)}
    assert theirs - PASSED - set(DECIDED) == set(), "a newer vLLM: pass these on, or refuse them with the reason"
    assert (PASSED | set(DECIDED)) - theirs == set(), "vLLM has them no more"


def test_each_is_passed_on_or_refused() -> None:
    assert not PASSED & set(DECIDED)
    assert set(WRITERS_ALONE) <= PASSED


@pytest.mark.parametrize("name", sorted(DECIDED))
@pytest.mark.parametrize("role", ["draft", "prm"])
def test_what_is_decided_elsewhere_says_where(role: str, name: str) -> None:
    with pytest.raises(UserError) as caught:
        check_argument(role, name, None)
    message = str(caught.value)
    assert message.startswith(f"models.{role}.engine.{name}: not to be set here: ")
    assert len(message.splitlines()) == 1
    assert "{" not in message


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("generation_config", "decoding.temperature"),
        ("override_generation_config", "decoding.top_p"),
        ("logits_processors", "decoding.temperature"),
        ("seed", "decoding.seed"),
        ("enable_sleep_mode", "run.sharing"),
        ("model", "models.target.model"),
        ("trust_remote_code", "models.target.trust_remote_code"),
        ("max_num_queued_reqs", "run.in_flight"),
    ],
)
def test_the_setting_that_does_it_is_named(name: str, setting: str) -> None:
    with pytest.raises(UserError, match=setting.replace(".", r"\.")):
        check_argument("target", name, {})


@pytest.mark.parametrize("name", sorted(PASSED - {"speculative_config"}))
def test_what_is_passed_on_counts_more_than_the_plan(configured: Callable[..., Config], name: str) -> None:
    given: Any = object()
    model = configured().models.target
    assert model is not None
    engine = model.engine.model_copy(update={"kind": "vllm"})
    assert engine.__pydantic_extra__ is not None
    engine = type(engine).model_construct(kind="vllm", replicas=1, **{name: given})
    config = configured()
    models = config.models.model_copy(update={"target": model.model_copy(update={"engine": engine})})
    config = config.model_copy(update={"models": models})
    check_argument("target", name, given)
    planned = Share("cpu", 1, 1, 1, {"kv_cache_memory_bytes": 1, "gpu_memory_utilization": 0.5})
    arguments = vllm_arguments("target", config, 512, planned, {"runner": "pooling"})
    if name == "max_model_len":
        assert name not in arguments  # the window, of which the plan has made sure
    else:
        assert arguments[name] is given


@pytest.mark.parametrize("name", sorted(WRITERS_ALONE))
def test_what_only_writers_have(name: str) -> None:
    check_argument("draft", name, None)
    with pytest.raises(UserError, match="not to be set here"):
        check_argument("prm", name, None)


def test_made_up_weights_and_unknown_names() -> None:
    check_argument("draft", "load_format", "safetensors")
    with pytest.raises(UserError, match="dummy weights are random"):
        check_argument("draft", "load_format", "dummy")
    with pytest.raises(UserError, match="did you mean max_model_len"):
        check_argument("draft", "max_modle_len", 3)
    with pytest.raises(UserError, match="not an engine argument of vLLM that Stepwave knows"):
        check_argument("draft", "xyzzy", 3)


def test_guesses_without_a_seed(configured: Callable[..., Config]) -> None:
    ngram = "models.target.engine={kind: vllm, speculative_config: {method: ngram}}"
    check_engine_arguments(configured(ngram))
    with pytest.raises(UserError, match=r"models\.target\.engine\.speculative_config: above temperature 0"):
        check_engine_arguments(configured(ngram, "decoding.temperature=0.7"))


@pytest.mark.parametrize("kind", ["scripted", "openai"])
@pytest.mark.parametrize("name", ["generation_config", "seed", "tensor_parallel_size", "modle"])
def test_other_engines_have_their_own(configured: Callable[..., Config], kind: str, name: str) -> None:
    endpoints = ", endpoints: ['http://a:1']" if kind == "openai" else ""
    with pytest.raises(UserError, match=rf"models\.draft\.engine\.{name}: .*engine kind {kind}"):
        check_engine_arguments(configured(f"models.draft.engine={{kind: {kind}{endpoints}, {name}: 1}}"))
