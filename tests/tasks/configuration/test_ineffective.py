"""Settings that would do nothing, or not what they say, are refused by name; what several methods share is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Config, DecodingConfig
from schemas.evaluation import EvaluationConfig
from schemas.methods import METHODS, readers, settings_of_some
from tasks.configuration.ineffective import ESCAPED_NEWLINE, LOWEST, remarks
from tasks.configuration.parsing import dump_config, from_values, parse_config
from tasks.configuration.placeholders import Due
from tasks.errors import UserError
from tasks.evaluation.cells import lay_out
from tasks.output.config_file import load, load_config

MODELS = {"draft": {"model": "a/draft"}, "target": {"model": "a/target"}, "prm": {"model": "a/prm"}}
RUNS = {
    "rsd": {},
    "target": {},
    "draft": {},
    "speculative": {},
    "majority": {"samples": 4, "temperature": 0.7},
    "best_of_n": {"samples": 4, "temperature": 0.7},
    "process_best_of_n": {"candidates": 4, "temperature": 0.7},
    "beam": {"candidates": 4, "temperature": 0.7},
}
"""What each method cannot do without."""
GIVEN = {
    "accept": {"rule": "clip"},
    "candidates": 4,
    "beams": 2,
    "writer": "target",
    "aggregation": "min",
    "pick": "weighted",
    "speculative_tokens": 5,
}


def values(decoding: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {
        "input": {"path": "p"},
        "output": {"path": "out"},
        "models": MODELS,
        "decoding": decoding,
    } | sections


def made(decoding: dict[str, Any], *changes: str, **sections: Any) -> Config:
    return from_values(Config, values(decoding, **sections), list(changes), "job.yaml")


def told(decoding: dict[str, Any], *changes: str, **sections: Any) -> str:
    with pytest.raises(UserError) as caught:
        made(decoding, *changes, **sections)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


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


# --- characters that were typed as two


@pytest.mark.parametrize(
    "typed",
    [
        *(
            r"\n",
            r"\n\n",
            r"\t",
            r"\r\n",
            r"\\n\\n",
            r"Step\n",
            r"\n\nStep",
            r"\x0a",
            r"\u000a",
            "/n",
            "/n/n",
            r"\r",
            r"\0",
        ),
        *("&#10;", "&#10;&#10;", "&#x0A;", "&NewLine;", "&lt;br&gt;", "%0A", "%0d%0a"),
    ],
)
def test_a_separator_that_only_spells_its_characters_is_refused(typed: str) -> None:
    message = told({}, prompt={"separator": typed})
    assert "prompt.separator: spells a character, such as a line's end, and models write" in message
    assert "prompt.separator" in told({}, f"prompt.separator={typed}")
    tagged = {"draft": MODELS["draft"], "target": MODELS["target"]}
    prm = {"model": "a/prm", "format": "skywork", "tag": typed}
    assert "models.prm.tag" in told({}, models=tagged | {"prm": prm})


@pytest.mark.parametrize(
    "meant",
    [
        "\n\n",
        "\n",
        "\t",
        "---",
        r"\newline",
        r"\\",
        r"\text",
        ". ",
        "/",
        "<step>",
        r"\neq",
        "&",
        "&&",
        "100%",
        "% 0",
        "R&D;",
    ],
)
def test_other_separators_are_taken(meant: str) -> None:
    assert made({}, prompt={"separator": meant}).prompt.separator == meant


@given(st.text(alphabet="\\nabt {}/", min_size=1, max_size=8))
def test_a_separator_without_a_backslash_or_slash_is_never_refused(text: str) -> None:
    if "\\" not in text and "/" not in text and text.strip():
        assert made({}, prompt={"separator": text}).prompt.separator == text


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ({"system": r"Reason step by step.\nThen answer."}, ["system"]),
        ({"user": r"Solve:\n{problem}", "template": r"{user}\n\n"}, ["user", "template"]),
        ({"system": r"Never write \nabla or \neq; \boxed{} the answer."}, []),
        ({"system": "Lines\nare fine."}, []),
    ],
)
def test_prompts_that_spell_a_new_line_are_told_of(prompt: dict[str, str], named: list[str]) -> None:
    said = remarks(made({}, prompt=prompt))
    assert [line.partition(":")[0] for line in said] == [f"prompt.{name}" for name in named]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ({"user": "{problem} {answer}"}, "prompt.user: models read {answer} as it stands: only {problem} and"),
        ({"user": "Q: {problem}\n({question}, {level})"}, "models read {question} and {level} as it stands"),
        ({"user": "{problem}", "template": "{user} {problem}"}, "prompt.template: models read {problem} as it stands"),
        ({"system": "Solve {problem}."}, "prompt.system: models read {problem} as it stands: nothing is filled in"),
        ({"user": "Solve: {{problem}}"}, "prompt.user: models read the outer braces of {{problem}} as they stand"),
        ({"template": "{{user}}"}, "prompt.template: models read the outer braces of {{user}}"),
        ({"user": r"{problem} in \boxed{answer} or \frac{a}{b}, x^{n}, a_{i}, $\sum_{i}$"}, None),
        ({"user": 'As JSON: {"answer": 3}, or {}. {problem} {choices}'}, None),
        ({"template": "{system}\n\n{user}"}, None),
    ],
)
def test_what_only_looks_like_a_placeholder_is_told_of(prompt: dict[str, str], told: str | None) -> None:
    said = remarks(made({}, prompt=prompt))
    assert [told in line for line in said] == [True] if told else said == []


def test_latex_is_no_escape() -> None:
    assert not ESCAPED_NEWLINE.search(r"\neg \nu \notin \newcommand{} \nonumber \ni")
    assert ESCAPED_NEWLINE.search(r"a\nb")


# --- evaluations


def evaluation(*methods: dict[str, Any], **fields: Any) -> EvaluationConfig:
    given = {
        "benchmarks": [{"name": "words", "path": "p"}],
        "methods": list(methods),
        "output": {"path": "out"},
        "models": MODELS,
    }
    return from_values(EvaluationConfig, given | fields, [], "evaluation.yaml")


@pytest.mark.parametrize(
    ("methods", "fields", "message"),
    [
        ([{"method": "target", "beams": 2}], {}, "methods.0 (target): beams: is for method beam; target does not"),
        (
            [{"method": "target", "samples": 3}],
            {},
            "methods.0 (target): temperature: at 0 all 3 samples would be identical",
        ),
        ([{"method": "target"}, {"method": "draft", "top_p": 0.9}], {}, "methods.1 (draft): top_p: at temperature 0"),
        ([{"method": "target"}], {"decoding": {"beams": 2}}, "decoding.beams: is for method beam, which is not among"),
        ([{"method": "target"}], {"decoding": {"method": "rsd"}}, "decoding.method: each of the methods names its own"),
        ([{"method": "target"}], {"decoding": {"top_p": 0.9}}, "decoding.top_p: every method has temperature 0"),
        ([{"method": "target"}], {"thresholds": [0.5]}, "thresholds: are for method rsd"),
        ([{"method": "rsd", "thresholds": [0.5]}], {"thresholds": [0.6]}, "thresholds: are for method rsd"),
        (
            [{"method": "rsd", "thresholds": [0.5], "accept": {"threshold": 0.6}}],
            {},
            "methods.0 (rsd): accept.threshold: thresholds take its place",
        ),
        ([{"method": "target"}], {"seeds": [0, 1]}, "seeds: every method is greedy"),
        ([{"method": "target"}], {"prompt": {"separator": r"\n"}}, "prompt.separator: spells a character"),
        ([{"method": "target"}], {"run": {"worker_restarts": 2}}, "run.worker_restarts: is for flow runs"),
    ],
)
def test_an_evaluation_is_judged_by_all_its_methods(
    methods: list[dict[str, Any]], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        evaluation(*methods, **fields)
    assert message in str(caught.value)


def test_what_some_of_an_evaluations_methods_read_is_shared() -> None:
    shared = {"beams": 2, "candidates": 4, "top_p": 0.9, "accept": {"threshold": 0.6}}
    methods = [{"method": "target"}, {"method": "rsd", "temperature": 0.7}, {"method": "beam", "temperature": 0.7}]
    config = evaluation(*methods, {"method": "draft"}, decoding=shared, seeds=[0, 1], thresholds=[0.5])
    assert [method.beams for method in config.methods] == [2, 2, 2, 2]
    assert from_values(EvaluationConfig, yaml.safe_load(dump_config(config)), [], "evaluation.yaml") == config


@pytest.mark.parametrize(
    "fields",
    [
        {"thresholds": [0.5]},
        {"seeds": [0, 1]},
        {"decoding": {"accept": {"threshold": 0.5}}},
        {"decoding": {"beams": 2}},
    ],
)
def test_methods_that_are_set_leave_behind_what_the_file_says_for_others(fields: dict[str, Any]) -> None:
    given = {"benchmarks": [{"name": "words", "path": "p"}], "output": {"path": "out"}, "models": MODELS} | fields
    given["methods"] = [{"method": "rsd", "temperature": 0.7}, {"method": "beam"} | RUNS["beam"]]
    alone = "methods=[{method: target}]"
    assert from_values(EvaluationConfig, given, [alone], "evaluation.yaml").methods[0].method == "target"
    for change in ("thresholds=[0.5]", "seeds=[0, 1]", "decoding.beams=2"):
        with pytest.raises(UserError, match=change.partition("=")[0]):
            from_values(EvaluationConfig, given, [alone, change], "evaluation.yaml")


# --- seeds


def test_a_seed_of_placeholders_needs_somebody_to_fill_them(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    due = Due(datetime(2026, 11, 21, 2, 30, tzinfo=UTC), 4711)
    path = tmp_path / "job.yaml"

    def seed(text: str, *changes: str) -> int:
        path.write_text(yaml.safe_dump(values({"temperature": 0.7, "seed": text})))
        return load(Config, str(path), list(changes), due).decoding.seed

    assert seed("{date}") == 20261121
    assert seed("{date}{time}") == 20261121023000
    assert seed("{run}") == 4711
    assert seed("7{date}") == 720261121
    assert seed("0", "decoding.seed={date}") == 20261121
    for wrong in ("{date}-{time}", "x{run}", "-{date}", "{date}" * 20):
        with pytest.raises(UserError, match=r"decoding\.seed: must be made of digits, \{date\}, \{time\} and \{run\}"):
            seed(wrong)
    with pytest.raises(UserError, match=r"decoding\.seed: "):
        seed("{dat}")
    with pytest.raises(UserError, match=r"decoding\.seed: \{date\} is filled in where a Prefect deployment runs"):
        load_config(str(path), ["decoding.seed={date}"])
    with pytest.raises(UserError, match=r"decoding\.seed: at temperature 0 no seed changes what is written"):
        seed("{date}", "decoding.temperature=0")
    kept = load(Config, str(path), ["decoding.seed={date}"], due)
    assert parse_config(dump_config(kept), [], "config.yaml") == kept


def test_an_evaluations_seeds_too() -> None:
    from datetime import UTC, datetime

    given = {
        "benchmarks": [{"name": "words", "path": "p"}],
        "methods": [{"method": "target", "temperature": 0.7}],
        "output": {"path": "out"},
        "models": MODELS,
        "seeds": ["{date}", 3],
    }
    due = Due(datetime(2026, 11, 21, tzinfo=UTC), 1)
    assert from_values(EvaluationConfig, given, [], "evaluation.yaml", due).seeds == (20261121, 3)
    with pytest.raises(UserError, match=r"seeds\.0: \{date\} is filled in where"):
        from_values(EvaluationConfig, given, [], "evaluation.yaml")


def test_a_run_of_scripted_engines_is_judged_alike(configured: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"decoding\.beams: is for method beam; rsd does not read it"):
        configured("decoding.beams=2")
