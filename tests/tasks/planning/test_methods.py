"""What a configuration must have for its method, and what of it makes a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.config import Config, DecodingConfig
from schemas.methods import METHODS, settings_of_some
from tasks.configuration.identity import differences, fingerprint, identity
from tasks.decoding import DECODERS
from tasks.engines.concurrency import most_requests, most_trajectories
from tasks.errors import UserError
from tasks.models.checkpoint import inspect
from tasks.planning import speculation
from tasks.planning.plan import check_engine_arguments
from tasks.planning.speculation import find_proposer

Configured = Callable[..., Config]


def test_every_method_has_its_lines() -> None:
    assert set(DECODERS) == set(METHODS)
    assert set(settings_of_some()) <= set(DecodingConfig.model_fields)
    assert {name for name, decoder in DECODERS.items() if decoder.pick} == {n for n, m in METHODS.items() if m.picks}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["decoding.method=majority"], "decoding.samples: majority chooses among several: give at least 2, not 1"),
        (["decoding.method=best_of_n", "decoding.samples=1"], "decoding.samples: best_of_n chooses"),
        (["decoding.method=beam"], "decoding.candidates: beam chooses among several: give at least 2, not 1"),
        (["decoding.method=process_best_of_n"], "decoding.candidates: process_best_of_n chooses"),
        (
            ["decoding.method=majority", "decoding.samples=4"],
            "decoding.temperature: at 0 all 4 samples would be identical",
        ),
        (["decoding.candidates=2"], "decoding.temperature: at 0 all 2 candidates would be identical; rsd needs"),
        (["decoding.method=beam", "decoding.candidates=2"], "decoding.temperature: at 0 all 2 candidates"),
        (["decoding.method=best_of_n", "models.prm=null"], "models.prm is missing"),
        (["decoding.method=beam", "decoding.writer=target", "models.target=null"], "models.target is missing"),
        (["decoding.method=speculative", "models.draft=null"], "models.draft is missing"),
        (["decoding.method=majority", "decoding.writer=prm"], "decoding.writer"),
    ],
)
def test_what_a_method_lacks_is_told(configured: Configured, changes: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        configured(*changes)
    assert told in str(error.value)
    assert "decoding: decoding" not in str(error.value)


def test_identity_is_made_of_what_the_method_reads(configured: Configured) -> None:
    usual = configured()
    some = [f"decoding.{name}" for name in settings_of_some() if name != "accept"]
    assert not identity(usual).keys() & set(some)
    d = usual.decoding
    other = usual.model_copy(update={"decoding": d.model_copy(update={"beams": 8, "writer": "target"})})
    assert fingerprint(other) == fingerprint(usual)
    warm = "decoding.temperature=0.7"
    assert differences(configured(warm), configured(warm, "decoding.candidates=4")) == [
        "decoding.candidates: null there, 4 here"
    ]
    majority = ["decoding.method=majority", "decoding.samples=4", warm]
    assert fingerprint(configured(*majority)) != fingerprint(configured(*majority, "decoding.writer=target"))
    speculative = "decoding.method=speculative"
    other = configured(speculative, "models.draft.params=7")
    assert fingerprint(configured(speculative)) != fingerprint(other)


def test_a_batch_is_made_of_requests(configured: Configured) -> None:
    alone = configured()
    beams = configured("decoding={method: beam, candidates: 4, beams: 8, temperature: 1.0}")
    assert most_trajectories(alone) == most_requests(alone) == most_requests(beams) == 32 * most_trajectories(beams)


def test_speculation_needs_an_engine_of_our_own(configured: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*changes: str) -> object:
        return find_proposer(configured("decoding.method=speculative", *changes))

    assert found() is None  # scripted
    assert find_proposer(configured()) is None
    served = "models.target.engine={kind: openai, endpoints: ['http://a:1']}"
    with pytest.raises(UserError, match="where it is started"):
        found(served)
    with pytest.raises(UserError, match="speculative_config: not to be set here"):
        found("models.target.engine={kind: vllm, speculative_config: {method: ngram}}")
    monkeypatch.setattr(speculation, "on_cpu", lambda: True)
    with pytest.raises(UserError, match=r"decoding\.temperature: above 0 .* wrong tokens on CPUs"):
        found("models.target.engine={kind: vllm}", "decoding.temperature=0.7")
    monkeypatch.setattr(speculation, "on_cpu", lambda: False)
    for temperature in (0.0, 0.7):
        proposer = find_proposer(
            configured(
                "decoding.method=speculative",
                "models.target.engine={kind: vllm}",
                f"decoding.temperature={temperature}",
            )
        )
        assert proposer is not None
        assert proposer.params == 506784


def test_a_draft_that_cannot_guess_at_the_targets_tokens_is_refused(configured: Configured) -> None:
    proposer = find_proposer(configured("decoding.method=speculative", "models.target.engine={kind: vllm}"))
    assert proposer is not None
    target = inspect("target", configured().model("target"))
    proposer.check_fits(target, 2048, proposer.vocabulary)
    with pytest.raises(UserError, match="positions of the draft"):
        proposer.check_fits(target, 4096, proposer.vocabulary)
    foreign: Any = SimpleNamespace(key="other")
    with pytest.raises(UserError, match="needs one tokenizer"):
        proposer.check_fits(target, 2048, foreign)
    padded = replace(target, config=target.config | {"vocab_size": 1024})
    config = configured("decoding.method=speculative", "decoding.speculative_tokens=5")
    alike, unlike = (proposer.engine_arguments(config, of)["speculative_config"] for of in (target, padded))
    assert alike == {"method": "draft_model", "model": proposer.model, "num_speculative_tokens": 5}
    assert unlike == alike | {"use_heterogeneous_vocab": True}


def test_an_engine_with_a_draft_holds_two_models(configured: Configured) -> None:
    draft, target = (inspect(role, configured().model(role)) for role in ("draft", "target"))
    both = target.with_another(draft)
    assert both.weight_bytes({}) == draft.weight_bytes({}) + target.weight_bytes({})
    assert both.kv_bytes_per_token == draft.kv_bytes_per_token + target.kv_bytes_per_token
    assert both.parameters == target.parameters


def test_engines_may_speculate_by_themselves(configured: Configured) -> None:
    pytest.importorskip("vllm")
    check_engine_arguments(configured("models.target.engine={kind: vllm, speculative_config: {method: ngram}}"))
