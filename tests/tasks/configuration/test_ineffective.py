"""Settings that would do nothing, or not what they say, are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from configuration.configured import MODELS, RUNS, evaluation, made, told

from schemas.config import Config, DecodingConfig
from schemas.methods import METHODS, readers, settings_of_some
from tasks.configuration.ineffective import LOWEST
from tasks.configuration.parsing import dump_config, from_values, parse_config
from tasks.errors import UserError
from tasks.evaluation.cells import lay_out
from tasks.output.config_file import load_config

GIVEN = {
    "accept": {"rule": "clip"},
    "candidates": 4,
    "beams": 2,
    "writer": "target",
    "aggregation": "min",
    "pick": "weighted",
    "speculative_tokens": 5,
}


# --- a method's settings


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", settings_of_some())
def test_a_setting_is_read_or_refused(method: str, name: str) -> None:
    of_default = DecodingConfig.model_fields[name].get_default()
    default = of_default if isinstance(of_default, str | int) else {"rule": "threshold"}
    for value in (GIVEN[name], default):
        decoding = RUNS[method] | {"method": method, "temperature": 0.7, name: value}
        if method in readers(name):
            if (name, value) != ("candidates", 1):
                assert getattr(made(decoding).decoding, name) is not None
        else:
            assert f"job.yaml: decoding.{name}: is for method" in told(decoding)
            assert f"; {method} does not read it" in told(decoding)


def test_what_the_file_says_for_another_method_is_left_behind() -> None:
    of_rsd = {"accept": {"threshold": 0.8}, "candidates": 4, "temperature": 0.7, "top_p": 0.9}
    for order in (1, -1):
        beam = made(of_rsd, *["decoding.method=beam", "decoding.beams=2"][::order]).decoding
        assert (beam.method, beam.beams, beam.candidates, beam.top_p) == ("beam", 2, 4, 0.9)
        assert beam.accept == DecodingConfig().accept
        assert "decoding.beams: is for method beam" in told(
            of_rsd, *["decoding.method=target", "decoding.beams=2"][::order]
        )
        clipped = made(of_rsd, "decoding.accept.rule=clip").decoding.accept
        assert clipped.rule == "clip"
        changes = ["decoding.accept.rule=logistic", "decoding.accept.threshold=0.4"][::order]
        logistic = made(of_rsd, *changes).decoding.accept.model_dump()
        assert (logistic["rule"], logistic["threshold"]) == ("logistic", 0.4)
    assert made(of_rsd, "decoding.temperature=0", "decoding.candidates=1").decoding.top_p == 1.0
    assert "decoding.top_p: at temperature 0" in told(of_rsd, "decoding.temperature=0", "decoding={top_p: 0.9}")


@pytest.mark.parametrize("method", METHODS)
def test_a_resolved_configuration_is_taken_as_it_is(method: str, tmp_path: Path) -> None:
    config = made({"method": method} | RUNS[method])
    text = dump_config(config)
    (tmp_path / "config.yaml").write_text(text)
    assert load_config(str(tmp_path / "config.yaml"), []) == config
    # also where it has what several methods shared, or what an older release let pass
    older = yaml.safe_load(text)
    older["decoding"] |= {"beams": 7, "speculative_tokens": 5}
    assert from_values(Config, older, [], "config.yaml").decoding.beams == 7
    assert parse_config(yaml.safe_dump(older), [], "config.yaml").decoding.beams == 7
    if method != "beam":
        with pytest.raises(UserError, match=r"decoding\.beams: is for method beam"):
            from_values(Config, older, ["decoding.beams=7"], "config.yaml")


def test_a_section_that_is_written_out_is_a_users_all_the_same() -> None:
    """A resolved file has all of its sections written out."""
    decoding = {"method": "rsd", "samples": 1, "temperature": 0, "top_p": 1.0, "seed": 0, "max_steps": 9}
    decoding |= {"max_tokens": 90, "accept": {"threshold": 0.5}}
    prompt = {"system": "Be brief.", "user": "{problem}", "separator": "\n\n", "template": None}
    run = {"shard_size": 64, "checkpoint_seconds": 2}
    made(decoding, prompt=prompt, run=run)
    assert "decoding.beams: is for method beam" in told(decoding | {"beams": 8}, prompt=prompt, run=run)
    assert "decoding.top_p: at temperature 0" in told(decoding | {"top_p": 0.9}, prompt=prompt, run=run)
    assert "decoding.accept: is for method rsd" in told(decoding | {"method": "target"}, prompt=prompt, run=run)
    assert "run.deployment: is for flow runs" in told(decoding, run=run | {"deployment": "generate-shards/x"})
    assert "prompt.system: prompt.template has no" in told(decoding, prompt=prompt | {"template": "{user}"})


@pytest.mark.parametrize("change", ["decoding.temperature=0", "decoding.seed=2", "run.shard_size=9"])
def test_a_change_to_a_resolved_configuration_judges_nothing_else_in_it(change: str) -> None:
    older = yaml.safe_load(dump_config(made({"temperature": 0.7, "top_p": 0.9})))
    older["decoding"] |= {"beams": 7}
    assert from_values(Config, older, [change], "config.yaml").decoding.beams == 7


# --- what is greedy


@pytest.mark.parametrize("method", ["rsd", "target", "draft", "speculative"])
def test_equal_samples_are_refused(method: str) -> None:
    message = told({"method": method, "samples": 4})
    assert (
        "decoding.temperature: at 0 all 4 samples would be identical; give a temperature above 0, such as 0.7"
        in message
    )
    assert made({"method": method, "samples": 4, "temperature": 0.1}).decoding.samples == 4


@pytest.mark.parametrize(
    ("accept", "equal"),
    [
        ({"threshold": 0.5}, True),
        ({"threshold": "auto", "target_share": 0.3}, True),
        ({"rule": "constant", "probability": 1}, True),
        ({"rule": "constant", "probability": 0}, True),
        ({"rule": "constant", "probability": 0.5}, False),
        ({"rule": "clip"}, False),
        ({"rule": "sigmoidal"}, False),
        ({"rule": "logistic"}, False),
    ],
)
def test_rules_that_toss_coins_make_samples_differ(accept: dict[str, Any], equal: bool) -> None:
    if equal:
        assert "all 2 samples would be identical" in told({"samples": 2, "accept": accept})
    else:
        assert not made({"samples": 2, "accept": accept}).decoding.greedy


def test_what_is_drawn_from_needs_a_temperature() -> None:
    assert "decoding.top_p: at temperature 0 nothing is drawn" in told({"top_p": 0.9})
    assert made({"top_p": 0.9, "temperature": 1}).decoding.top_p == 0.9
    assert made({"top_p": 1.0}).decoding.top_p == 1


@pytest.mark.parametrize("temperature", [1e-9, 1e-5, 0.001, 0.0099])
def test_a_temperature_that_vllm_would_raise_is_refused(temperature: float) -> None:
    from vllm import sampling_params

    assert sampling_params._MAX_TEMP == LOWEST
    assert "decoding.temperature: vLLM takes 0.01 where less" in told({"method": "target", "temperature": temperature})
    assert made({"method": "target", "temperature": LOWEST}).decoding.temperature == LOWEST
    with pytest.raises(UserError, match=r"methods\.0 \(target\): temperature: vLLM takes 0\.01"):
        evaluation({"method": "target", "temperature": temperature})


# --- others


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"run": {"deployment": "generate-shards/big"}}, "run.deployment: is for flow runs that share the shards"),
        ({"run": {"worker_restarts": 5}}, "run.worker_restarts: is for flow runs that share"),
        ({"run": {"metrics_host": "0.0.0.0"}}, "run.metrics_host: without run.metrics_port no port is opened"),
        ({"prompt": {"system": "Be brief.", "template": "{user}"}}, "prompt.system: prompt.template has no {system}"),
        (
            {"models": {role: m | {"engine": {"kind": "scripted"}} for role, m in MODELS.items()}}
            | {"run": {"batch_invariant": True}},
            "run.batch_invariant: is for engines of kind vllm",
        ),
        (
            {"models": {r: m | {"engine": {"kind": "openai"}} for r, m in MODELS.items()}, "run": {"sharing": "turns"}},
            "run.sharing: turns: fewer than two models",
        ),
        ({"decoding": {"method": "target"}, "run": {"sharing": "turns"}}, "run.sharing: turns: fewer than two models"),
    ],
)
def test_what_nobody_would_read_is_refused(sections: dict[str, Any], message: str) -> None:
    assert message in told(**({"decoding": {}} | sections))


def test_what_somebody_reads_is_taken() -> None:
    made({}, run={"deployment": "generate-shards/big", "workers": 2})
    made({}, run={"sharing": "turns"})
    made({}, run={"metrics_host": "0.0.0.0", "metrics_port": 9477})
    made({}, prompt={"template": "{user}"})
    made({}, prompt={"template": "{system} {user}", "system": "Be brief."})


def test_the_draft_of_a_speculative_run_has_no_engine() -> None:
    with_engine = MODELS | {"draft": {"model": "a/draft", "engine": {"dtype": "float16"}}}
    assert "models.draft.engine: method speculative loads" in told({"method": "speculative"}, models=with_engine)
    for change in ("models.draft.engine.dtype=float16", "models.draft.engine={replicas: 2}"):
        assert "models.draft.engine" in told({}, "decoding.method=speculative", change)
    both = made({}, "decoding.method=speculative", models=with_engine)
    assert both.models.draft is not None
    assert both.models.draft.engine.arguments == {}
    with pytest.raises(UserError, match=r"models\.draft\.engine: method speculative"):
        evaluation({"method": "speculative"}, {"method": "target"}, models=with_engine)
    evaluation({"method": "speculative"}, {"method": "rsd"}, models=with_engine)


def test_a_run_of_an_evaluation_is_taken_up_by_its_own_configuration(tmp_path: Path) -> None:
    """What other methods read stands in it as well."""
    shared = {"beams": 2, "accept": {"threshold": 0.6}, "top_p": 0.9}
    models = {role: model | {"engine": {"dtype": "float16"}} for role, model in MODELS.items()}
    methods = [{"method": m} | RUNS[m] for m in METHODS]
    config = evaluation(*methods, decoding=shared, models=models, run={"sharing": "turns"})
    for cell in lay_out(config, {"words": "p"}):
        of_cell = yaml.safe_load(dump_config(cell.config))
        assert from_values(Config, of_cell, ["run.store_patience=9"], "config.yaml").decoding == cell.config.decoding
