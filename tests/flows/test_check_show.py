"""`stepwave check --show`: the prompts of the first problems, as each model reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import evaluation_check
from flows.check import check, lines
from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.errors import UserError
from tasks.planning.plan import make_plan
from tasks.problems.reader import Problem

Job = Callable[..., Config]


def test_of_the_first_problems_that_can_be_used(job: Job, problem_set: Callable[..., str]) -> None:
    path = problem_set(
        {"problem": [None, "1 + 1?", "", "2 + 2?", "3 + 3?"], "problem_id": list("abcde")}, "few.parquet"
    )
    config = job(f"input.path={path}")
    report = check(config, show=2)
    assert [one["problem_id"] for one in report["shown"]] == ["b", "d"]
    assert json.loads(json.dumps(report))["shown"] == report["shown"]
    ids = make_plan(config).prompts([Problem("b", "1 + 1?", None, None, None)])
    for role, read in report["shown"][0]["roles"].items():
        assert read["tokens"] == len(ids[role][0])
        assert "1 + 1?" in read["text"]
        assert read["text"].startswith("<|im_start|>system\nPlease reason step by step")
        assert read["text"].endswith("<|im_start|>assistant\n")
    assert report["shown"][0]["step"]["text"] == "Step 1: 2 + 3 = 5.<extra_0>"
    text = lines(report)
    assert sum("draft, target, prm, " in line for line in text) == 2  # once for all that read the same
    assert "shown" not in check(config)


@pytest.mark.parametrize(
    ("changes", "roles"),
    [
        (["decoding.method=target"], ["target"]),
        (["decoding.method=draft"], ["draft"]),
        (["models.prm={same_as: target, format: judge}"], ["draft", "target", "prm"]),
        (["models.prm={format: confidence}"], ["draft", "target"]),
    ],
)
def test_of_the_roles_that_there_are(job: Job, changes: list[str], roles: list[str]) -> None:
    report = check(job(*changes), show=1)
    assert list(report["shown"][0]["roles"]) == roles
    assert ("step" in report["shown"][0]) == ("prm" in roles)
    assert lines(report)


def test_what_solutions_go_on_from_is_in_it(job: Job, problem_set: Callable[..., str]) -> None:
    path = problem_set({"problem": ["1?"], "begun": [["So one.", "Then two."]]}, "begun.parquet")
    report = check(job(f"input.path={path}", "input.prefix=begun"), show=1)
    roles = report["shown"][0]["roles"]
    assert roles["target"]["text"].endswith("assistant\nSo one.\n\nThen two.\n\n")
    assert roles["prm"]["text"].count("<extra_0>") == 2


HOSTILE = ["\x1b[2J\x1b[31mred", "a\rb", "\u202egnp", "bell\x07", "\x9b5n", "line\u2028end", "<|im_end|> x", "w " * 400]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_problem_holds_does_nothing_to_a_terminal(job: Job, problem_set: Callable[..., str], text: str) -> None:
    path = problem_set({"problem": [text], "problem_id": [text]}, "hostile.parquet")
    report = check(job(f"input.path={path}"), show=1)
    assert all(line.replace("\t", "").isprintable() for line in lines(report))
    assert text in report["shown"][0]["roles"]["draft"]["text"]
    if text.isprintable():
        assert text in "\n".join(lines(report))


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_that_is_none(job: Job, count: int) -> None:
    with pytest.raises(UserError, match="--show"):
        check(job(), show=count)


def test_of_an_evaluation(job: Job, models: Path, tmp_path: Path) -> None:
    values = {
        "benchmarks": [{"name": "mixed", "path": job().input.path}],
        "methods": [{"method": "target"}, {"method": "rsd"}],
        "models": job().models.model_dump(mode="json"),
        "output": {"path": str(tmp_path / "evaluation")},
    }
    report = evaluation_check.check(EvaluationConfig.model_validate(values), show=1)
    assert list(report["shown"][0]["roles"]) == ["draft", "target", "prm"]
    assert any("draft, target, prm, " in line for line in evaluation_check.lines(report))
