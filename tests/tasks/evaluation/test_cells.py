"""Which runs an evaluation has, and what is told of mistakes in its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.config import Threshold
from schemas.evaluation import EvaluationConfig
from schemas.methods import METHODS
from tasks.configuration.parsing import dump_config, parse
from tasks.errors import UserError
from tasks.evaluation.cells import Cell, lay_out, namesakes, repeats
from tasks.output.config_file import load

USUAL: dict[str, Any] = {
    "benchmarks": [{"name": "words", "path": "/words.parquet"}],
    "methods": [{"method": "target"}, {"method": "rsd"}],
    "output": {"path": "/out"},
    "models": {"draft": {"model": "/d"}, "target": {"model": "/t"}, "prm": {"model": "/p"}},
}


def parsed(*changes: str, **sections: Any) -> EvaluationConfig:
    return parse(EvaluationConfig, yaml.safe_dump(USUAL | sections), list(changes), "evaluation.yaml")


def cells(config: EvaluationConfig) -> list[Cell]:
    return lay_out(config, {benchmark.name: benchmark.path for benchmark in config.benchmarks})


def names(**sections: Any) -> list[str]:
    return [cell.name for cell in cells(parsed(**sections))]


def test_a_cell_for_each_benchmark_method_threshold_and_seed() -> None:
    config = parsed(
        benchmarks=[{"name": "a", "path": "/a.parquet"}, {"name": "b", "path": "/b.parquet", "limit": 7}],
        decoding={"temperature": 0.7, "max_tokens": 99},
        thresholds=[0.5, 0.75],
        seeds=[3, 4],
    )
    one = ["target-s3", "target-s4", "rsd-0.5-s3", "rsd-0.5-s4", "rsd-0.75-s3", "rsd-0.75-s4"]
    found = cells(config)
    assert [(cell.benchmark, cell.name) for cell in found] == [(b, name) for b in ("a", "b") for name in one]
    last = found[-1].config
    assert (last.input.path, last.input.limit) == ("/b.parquet", 7)
    assert last.output.path == "/out/runs/b/rsd-0.75-s4"
    assert (last.decoding.method, last.decoding.seed, last.decoding.max_tokens) == ("rsd", 4, 99)
    assert last.decoding.accept == Threshold(threshold=0.75)


def test_an_entry_overrides_what_methods_share() -> None:
    methods = [{"method": "target"}, {"name": "short", "method": "target", "max_tokens": 5}]
    of = {cell.row.method: cell.config.decoding for cell in cells(parsed(methods=methods, decoding={"max_tokens": 9}))}
    assert (of["target"].max_tokens, of["short"].max_tokens) == (9, 5)


def test_a_threshold_of_an_entrys_own_is_the_only_one() -> None:
    its_own = {"name": "own", "method": "rsd", "accept": {"threshold": 0.9}}
    clip = {"name": "clip", "method": "rsd", "accept": {"rule": "clip"}}
    listed = {"name": "listed", "method": "rsd", "thresholds": [0.1]}
    methods = [{"method": "rsd"}, its_own, clip, listed]
    found = names(methods=methods, thresholds=[0.5, 0.7])
    assert found == ["rsd-0.5-s0", "rsd-0.7-s0", "own-0.9-s0", "clip-s0", "listed-0.1-s0"]


def test_cells_keep_their_names_when_thresholds_are_added() -> None:
    """What is done goes on counting."""
    alone = {"method": "rsd", "accept": {"threshold": 0.5}}
    assert set(names(methods=[alone])) <= set(names(methods=[{"method": "rsd"}], thresholds=[0.5, 0.7]))


def test_what_is_greedy_is_run_with_one_seed() -> None:
    methods = [{"method": "target"}, {"name": "warm", "method": "target", "temperature": 0.5}]
    methods += [
        {"method": "rsd"},
        {"name": "coin", "method": "rsd", "accept": {"rule": "constant", "probability": 0.5}},
    ]
    config = parsed(methods=methods, seeds=[5, 6])
    assert [c.name for c in cells(config)] == ["target-s5", "warm-s5", "warm-s6", "rsd-0.7-s5", "coin-s5", "coin-s6"]
    assert repeats(config) == ["target", "rsd"]
    assert repeats(parsed(methods=methods)) == []


PRMS = {"mine": {"model": "/m", "format": "shepherd"}, "sure": {"format": "confidence"}}


def test_methods_name_reward_models_beside_the_usual_one() -> None:
    best = {"method": "best_of_n", "samples": 4, "temperature": 0.7}
    methods = [{"method": "target"}, {"method": "rsd"}, {"method": "rsd", "prm": "mine"}]
    methods += [{"name": "by-itself", "method": "rsd", "prm": "sure"}, best, best | {"prm": "mine"}]
    found = cells(parsed(methods=methods, thresholds=[0.5], prms=PRMS))
    prms = {cell.name: (cell.row.prm, cell.config.models.prm) for cell in found}
    assert {name: (label, prm.model, prm.format) for name, (label, prm) in prms.items() if prm} == {
        "target-s0": (None, "/p", "qwen"),
        "rsd-0.5-s0": (None, "/p", "qwen"),
        "rsd-mine-0.5-s0": ("mine", "/m", "shepherd"),
        "by-itself-0.5-s0": ("sure", "", "confidence"),
        "best_of_n-s0": (None, "/p", "qwen"),
        "best_of_n-mine-s0": ("mine", "/m", "shepherd"),
    }
    assert all(cell.config.models.draft == found[0].config.models.draft for cell in found)


def test_a_reward_model_is_compared_with_the_usual_one_where_all_else_is_equal() -> None:
    other = {"name": "other", "method": "rsd", "prm": "mine", "thresholds": [0.9], "max_tokens": 7}
    methods = [
        {"method": "rsd", "prm": "mine"},
        {"method": "rsd"},
        {"method": "rsd", "prm": "sure", "thresholds": [0.3]},
    ]
    auto = {"name": "auto", "method": "rsd", "accept": {"threshold": "auto", "target_share": 0.1}}
    methods += [other, auto, auto | {"name": "auto-mine", "prm": "mine"}]
    found = cells(parsed(methods=methods, thresholds=[0.5, 0.9], prms=PRMS, decoding={"temperature": 1}, seeds=[0, 1]))
    assert {row.name: usual.name for row, usual in namesakes(found).items()} == {
        "rsd-mine-0.5": "rsd-0.5",
        "rsd-mine-0.9": "rsd-0.9",
        "auto-mine": "auto",
    }


def test_there_may_be_no_usual_reward_model() -> None:
    models = {"draft": {"model": "/d"}, "target": {"model": "/t"}}
    methods = [{"method": "target"}, {"method": "rsd", "prm": "mine"}]
    found = cells(parsed(models=models, methods=methods, prms={"mine": PRMS["mine"]}))
    assert found[1].config.models.prm
    assert namesakes(found) == {}


def test_reward_models_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trained").mkdir()
    monkeypatch.chdir(tmp_path)
    prms = {"mine": {"model": "trained"}, "hub": {"model": "owner/name"}}
    config = parsed("methods.0.prm=mine", methods=[{"method": "rsd"}, {"method": "rsd", "prm": "hub"}], prms=prms)
    assert {label: prm.model for label, prm in config.prms.items()} == {
        "mine": str(tmp_path / "trained"),
        "hub": "owner/name",
    }
    assert parse(EvaluationConfig, dump_config(config), [], "evaluation.yaml") == config


def test_the_resolved_configuration_stands_for_the_same_cells() -> None:
    methods = [{"method": "rsd"}, {"name": "own", "method": "rsd", "accept": {"threshold": 0.7}}]
    config = parsed(methods=methods, thresholds=[0.5, 0.6], seeds=[1])
    again = parse(EvaluationConfig, dump_config(config), [], "evaluation.yaml")
    assert again == config
    assert cells(again) == cells(config)


def test_changes_reach_into_lists() -> None:
    assert parsed("benchmarks.0.limit=7", "methods.1.max_steps=3").methods[1].max_steps == 3
    with pytest.raises(UserError, match=r"--set benchmarks\.3\.limit"):
        parsed("benchmarks.3.limit=7")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"methods": [{"method": "rsd"}, {"method": "rsd"}]}, "methods: the name rsd is given twice"),
        ({"benchmarks": USUAL["benchmarks"] * 2}, "benchmarks: the name words is given twice"),
        ({"benchmarks": [{"name": "mean", "path": "/x"}]}, "benchmarks.0.name: 'mean' is reserved"),
        ({"benchmarks": [{"name": "a/b", "path": "/x"}]}, "benchmarks.0.name"),
        ({"benchmarks": []}, "benchmarks"),
        ({"methods": [{"method": "rds"}]}, "methods.0.method"),
        ({"methods": [{"name": "x"}]}, "methods.0.method"),
        ({"methods": ["rsd"]}, "methods.0"),
        (
            {"methods": [{"method": "rsd", "temprature": 1}]},
            "methods.0.temprature: unknown key; did you mean temperature?",
        ),
        ({"methods": [{"method": "rsd", "seed": 1}]}, "methods.0.seed: an evaluation has a list `seeds`"),
        ({"decoding": {"seed": 1}}, "decoding.seed: an evaluation has a list `seeds`"),
        ({"methods": [{"method": "target", "thresholds": [0.5]}]}, "methods.0: thresholds are for method rsd"),
        ({"thresholds": [0.5, 0.5]}, "thresholds: 0.5 is given twice"),
        ({"thresholds": [1.5]}, "thresholds.0"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds: 1 is given twice"),
        ({"models": {"target": {"model": "/t"}}}, "methods.1 (rsd): models.draft is missing"),
        ({"models": USUAL["models"] | {"api_key": "x"}}, "models.api_key"),
        ({"input": {"path": "/x"}}, "input: unknown key"),
        ({"prms": PRMS}, "prms.mine: no method uses it: give one `prm: mine`"),
        ({"methods": [{"method": "rsd", "prm": "mine"}]}, "methods.0.prm: there is no prms.mine; known: none"),
        (
            {"methods": [{"method": "rsd", "prm": "yours"}], "prms": PRMS},
            "methods.0.prm: there is no prms.yours; known: mine, sure",
        ),
        (
            {"methods": [{"method": "target", "prm": "mine"}], "prms": PRMS},
            "methods.0.prm: method target asks no reward model",
        ),
        ({"methods": [{"method": "rsd", "prm": 3}]}, "methods.0.prm: "),
        ({"decoding": {"prm": "mine"}}, "decoding.prm: unknown key"),
        ({"prms": {"mine": {"modle": "/m"}}}, "prms.mine.modle: unknown key; did you mean model?"),
        ({"prms": {"mine": {"format": "qwen"}}}, "prms.mine: "),
        ({"prms": {"a/b": {"model": "/m"}}}, "prms.a...: string should match"),
        ({"prms": {"mine": PRMS["mine"] | {"api_key": "x"}}}, "prms.mine.api_key"),
        (
            {
                "models": {"target": {"model": "/t"}},
                "methods": [
                    {"method": "best_of_n", "samples": 2, "temperature": 1, "writer": "target", "prm": "judge"}
                ],
                "prms": {"judge": {"same_as": "draft", "format": "judge"}},
            },
            "methods.0 (best_of_n-judge): prms.judge.same_as: there is no models.draft",
        ),
    ],
    ids=str,
)
def test_mistakes_name_the_field(sections: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        parsed(**sections)
    assert str(error.value).startswith("evaluation.yaml: ")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("entry", "field"), [({"method": "rsd", "prm": "a/b"}, "prm"), ({"method": "r/d"}, "method"), ({}, "method")]
)
def test_one_mistake_is_told_once(entry: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as error:
        parsed(methods=[entry])
    assert str(error.value).startswith(f"evaluation.yaml: methods.0.{field}")
    assert ";" not in str(error.value)


def test_two_cells_of_one_name_are_refused() -> None:
    methods = [{"method": "rsd"}, {"name": "rsd-0.5", "method": "target"}]
    with pytest.raises(UserError, match=r"rsd and rsd-0\.5 would share the folder rsd-0\.5-s0"):
        cells(parsed(methods=methods, thresholds=[0.5]))


def test_the_demo_compares_every_method() -> None:
    path = Path(__file__).parents[3] / "deploy" / "demo" / "evaluation.yaml"
    found = cells(load(EvaluationConfig, str(path), []))
    assert {cell.row.kind for cell in found} == set(METHODS)
    assert {cell.row.threshold for cell in found if cell.row.method == "rsd"} == {0.5, 0.7, 0.9}
