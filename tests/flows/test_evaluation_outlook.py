"""`check` and `status` of an evaluation: what it would do, and how far each cell is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import evaluation_check, evaluation_status
from flows.cli import app
from schemas.evaluation import EvaluationConfig
from tasks.errors import UserError
from tasks.output.config_file import load_either
from tasks.output.kinds import is_evaluation
from tasks.storage.stores import Stores

Words = Callable[..., list[str]]


@pytest.fixture
def evaluation(tmp_path: Path, models: Path, problem_set: Callable[..., str]) -> Callable[..., EvaluationConfig]:
    """An evaluation of two methods on two benchmarks, on scripted engines, with `--set` changes."""
    one = problem_set({"problem": ["1 + 1", "2 + 2", None], "answer": ["2", "4", "5"]}, "one.parquet")
    other = tmp_path / "other.jsonl"
    other.write_text('{"problem": "3 + 3", "answer": "6"}\n')
    values = {
        "benchmarks": [{"name": "one", "path": one}, {"name": "other", "path": str(other), "format": "jsonl"}],
        "methods": [{"method": "target"}, {"method": "rsd", "thresholds": [0.5, 0.9]}],
        "output": {"path": str(tmp_path / "evaluation")},
        "models": {
            role: {"model": str(models / role), "engine": {"kind": "scripted", "max_model_len": 2048}}
            for role in ("draft", "target", "prm")
        },
    }
    path = tmp_path / "evaluation.yaml"
    path.write_text(yaml.safe_dump(values))

    def make(*changes: str) -> EvaluationConfig:
        config = load_either(str(path), list(changes))
        assert isinstance(config, EvaluationConfig)
        return config

    return make


def test_what_an_evaluation_would_do_is_said_and_nothing_written(evaluation: Any, tmp_path: Path) -> None:
    report = evaluation_check.check(evaluation())
    assert json.loads(json.dumps(report)) == report
    assert {name: of["problems"] for name, of in report["benchmarks"].items()} == {"one": 2, "other": 1}
    assert [(cell["name"], cell["state"]) for cell in report["cells"]][:3] == [
        ("target-s0", "open"),
        ("rsd-0.5-s0", "open"),
        ("rsd-0.9-s0", "open"),
    ]
    (start,) = report["starts"]
    assert set(start) == {"draft", "target", "prm"}
    text = "\n".join(evaluation_check.lines(report))
    assert re.search(r"one +2 problems\n +rejected: 1 rows: .*\nother +1 problems", text)
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("benchmarks.0.path=missing.parquet", r"benchmarks\.0\.path: .*missing\.parquet does not exist"),
        ("benchmarks.1.path=missing.jsonl", r"benchmarks\.1: .*missing\.jsonl"),
        ("models.target.model=./nowhere", r"models\.target\.model: .*nowhere"),
        ("output.path=/dev/null/x", r"output\.path: .*/dev/null is not a directory"),
        ("run.workers=2", r"run\.workers: an evaluation runs in one process"),
    ],
)
def test_a_mistake_is_told_by_the_evaluations_own_field(evaluation: Any, change: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        evaluation_check.check(evaluation(change))


def test_vllm_is_asked_about_the_engines_of_each_reward_model(
    evaluation: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuses(specs: Any, given: dict[str, set[str]]) -> None:
        asked.append(({spec.role for spec in specs}, given))
        if "prm" in given and "dtype" in given["prm"]:
            raise UserError("models.prm.engine: vLLM refuses the arguments")

    monkeypatch.setattr(evaluation_check, "check_arguments", refuses)
    evaluation_check.check(evaluation("models.target.engine.max_model_len=1024"))
    assert asked == [({"draft", "target", "prm"}, {key: {"max_model_len"} for key in ("draft", "target", "prm")})]
    engine = "{kind: vllm, max_model_len: 1024, dtype: float99}"
    other = f"prms.other={{model: {models / 'prm'}, engine: {engine}}}"
    with pytest.raises(UserError, match=r"^prms\.other\.engine: vLLM refuses the arguments"):
        evaluation_check.check(evaluation(other, "methods.1.prm=other"))
    evaluation_check.check(evaluation(other, "methods.1.prm=other"), gpus=[80 << 30])
    assert len(asked) == 2


def test_what_is_hardly_meant_is_told_once_for_all_cells(evaluation: Any, models: Path, tmp_path: Path) -> None:
    report = evaluation_check.check(evaluation("decoding.max_tokens=90"))
    assert [line.partition(" has")[0] for line in report["warnings"]] == ["the PRM"]
    assert report["day"] is None
    swapped = [f"models.draft.model={models}/target", f"models.target.model={models}/draft"]
    told = evaluation_check.check(evaluation(*swapped, "decoding.max_tokens=5000", r"prompt.user=a\n{problem}"))
    text = "\n".join(evaluation_check.lines(told))
    for part in ("swapped?", "prompt.user: holds a backslash", "decoding.max_tokens: 5,000 tokens do not fit"):
        assert sum(part in line for line in told["warnings"]) >= 1
        assert part in text
    assert len(set(told["warnings"])) == len(told["warnings"])


def test_the_day_of_prompts_is_told(evaluation: Any, models: Path, tmp_path: Path) -> None:
    dated = tmp_path / "dated"
    shutil.copytree(models / "target", dated)
    template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    (dated / "chat_template.jinja").write_text(template)
    report = evaluation_check.check(evaluation(f"models.target.model={dated}", "prompt.date=2026-02-03"))
    assert report["day"] == "2026-02-03"
    assert "prompts" in "\n".join(evaluation_check.lines(report))


def test_check_takes_whichever_configuration_a_file_holds(
    evaluation: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation()
    app(["check", str(tmp_path / "evaluation.yaml"), "--json"], exit_on_error=False, result_action="return_value")
    assert json.loads(capsys.readouterr().out)["methods"] == ["target", "rsd"]


def test_each_cell_that_has_begun_says_how_far_it_is(evaluation: Any, prefect: str, tmp_path: Path) -> None:
    import asyncio

    from flows.evaluate import evaluate

    config = evaluation()
    asyncio.run(evaluate(config))
    out = tmp_path / "moved"
    shutil.move(config.output.path, out)
    shutil.rmtree(out / "runs" / "other" / "rsd-0.5-s0")
    (out / "runs" / "one" / "rsd-0.9-s0" / "manifest.json").unlink()
    (out / "runs" / "other" / "target-s0" / "config.yaml").write_text("x: y")
    edited = out / "runs" / "other" / "rsd-0.9-s0" / "config.yaml"
    edited.write_text(re.sub(r"  seed: 0", "  seed: 8", edited.read_text()))
    next((out / "runs" / "one" / "rsd-0.5-s0" / "steps").iterdir()).write_bytes(b"cut")
    stores = Stores()
    assert is_evaluation(stores.store(str(out)))
    assert not is_evaluation(stores.store(str(out / "runs" / "one" / "target-s0")))
    report = evaluation_status.status(str(out), stores)
    assert json.loads(json.dumps(report)) == report
    states = {(cell["benchmark"], cell["name"]): cell["state"] for cell in report["cells"]}
    assert states[("one", "target-s0")] == "complete"
    assert states[("other", "rsd-0.5-s0")] == "open"
    assert states[("one", "rsd-0.9-s0")] == "stopped"
    assert report["state"] == "stopped"
    text = "\n".join(evaluation_status.lines(report))
    assert re.search(r"target-s0 on one +complete, 2 of 2 solutions, \d+\.\d% solved", text)
    assert re.search(r"rsd-0\.5-s0 on other +open", text)
    assert re.search(r"rsd-0\.9-s0 on other +complete,.*; not one run: .*was changed since.*decoding\.seed: 0 th", text)
    assert re.search(r"rsd-0\.5-s0 on one +stopped,.*, 1 of its shards damaged", text)


def test_a_cell_that_lost_its_configuration_is_named_as_such(
    evaluation: Any, prefect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    from flows.evaluate import evaluate
    from flows.report import report

    asyncio.run(evaluate(evaluation()))
    out, stores = tmp_path / "evaluation", Stores()
    shutil.move(out / "runs" / "other" / "target-s0", tmp_path / "elsewhere")
    capsys.readouterr()
    report(str(out), None, stores)
    told = "the report lacks 1 of 6 runs, which did not begin or were moved: target-s0 on other"
    assert told in capsys.readouterr().err
    cell = out / "runs" / "one" / "rsd-0.9-s0"
    (cell / "config.yaml").unlink()
    lost = f"{cell}: holds a run whose config.yaml is gone"
    with pytest.raises(UserError, match=re.escape(lost)):
        report(str(out), None, stores)
    found = evaluation_status.status(str(out), stores)
    assert found["state"] == "stopped"
    states = {(cell["benchmark"], cell["name"]): cell["state"] for cell in found["cells"]}
    assert states[("one", "rsd-0.9-s0")] == "damaged"
    assert states[("other", "target-s0")] == "open"
    assert lost in "\n".join(evaluation_status.lines(found))


def test_a_damaged_cell_is_told_beside_the_others(evaluation: Any, prefect: str, tmp_path: Path) -> None:
    import asyncio

    from flows.evaluate import evaluate

    asyncio.run(evaluate(evaluation()))
    runs = tmp_path / "evaluation" / "runs"
    (runs / "one" / "target-s0" / "solutions" / "00000.parquet").unlink()
    (runs / "one" / "rsd-0.5-s0" / "shards" / "00000.json").write_text("{}")
    of_a_cell = runs / "other" / "target-s0" / "config.yaml"
    of_a_cell.unlink()
    of_a_cell.mkdir()
    report = evaluation_status.status(str(tmp_path / "evaluation"), Stores())
    text = "\n".join(evaluation_status.lines(report))
    assert re.search(r"target-s0 on one .*, 1 of its shards damaged$", text, re.MULTILINE)
    assert re.search(r"rsd-0\.5-s0 on one .*, 1 of its shards damaged$", text, re.MULTILINE)
    assert re.search(r"target-s0 on other .*config\.yaml", text)
    assert re.search(r"rsd-0\.9-s0 on other +complete, 1 of 1 solutions", text)
    assert report["done"] == 3
