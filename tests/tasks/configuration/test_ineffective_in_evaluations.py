"""What several methods of an evaluation share is judged by all of them; seeds need somebody to fill them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from configuration.configured import MODELS, RUNS, evaluation, values

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.configuration.parsing import dump_config, from_values, parse_config
from tasks.configuration.placeholders import Due
from tasks.errors import UserError
from tasks.output.config_file import load, load_config

# --- evaluations


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
