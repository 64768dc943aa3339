"""Evaluations on scripted engines, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from half_right import grade_by_parity
from invariants import check, read_tables
from polars.testing import assert_frame_equal
from rows import MIXED
from test_command_line import Said, is_mistake, stepwave

from schemas.config import Config
from schemas.tables import EVALUATION
from tasks.output.config_file import load_config

pytestmark = pytest.mark.tier2

__all__ = ["stepwave"]

Evaluate = Callable[..., Said]


@pytest.fixture
def evaluation(tmp_path: Path, mixed: str, job: Callable[..., Config]) -> str:
    """A configuration file: two benchmarks, one of them a file of its own format, and three methods."""
    problems = [{"question": f"What is {n} + {n}?", "answer": f"so\n#### {2 * n}"} for n in range(9)]
    (tmp_path / "gsm.jsonl").write_text("\n".join(json.dumps(problem) for problem in problems))
    of_job = job().model_dump(mode="json")
    values = {
        "benchmarks": [
            {"name": "mixed", "path": mixed},
            {"name": "gsm", "path": str(tmp_path / "gsm.jsonl"), "format": "gsm8k", "limit": 8},
        ],
        "methods": [
            {"method": "target"},
            {"name": "warm", "method": "target", "samples": 2, "temperature": 0.8},
            {"method": "rsd"},
        ],
        "thresholds": [0.5],
        "output": {"path": str(tmp_path / "evaluation")},
        "models": of_job["models"],
        "decoding": {"max_tokens": 90, "max_steps": 6},
        "run": {name: of_job["run"][name] for name in ("shard_size", "in_flight", "engine_restarts")},
    }
    (tmp_path / "evaluation.yaml").write_text(yaml.safe_dump(values))
    return str(tmp_path / "evaluation.yaml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "evaluation"


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Roles whose engines were started."""
    from tasks.engines import KINDS

    found: list[str] = []
    usual = KINDS["scripted"].open_engine

    async def counted(spec: Any, *rest: Any) -> Any:
        found.append(spec.role)
        return await usual(spec, *rest)

    monkeypatch.setitem(KINDS, "scripted", replace(KINDS["scripted"], open_engine=counted))
    return found


def content(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted((root / "runs").rglob("*")) if p.is_file()}


def test_an_evaluation_from_its_beginning_to_its_extension(
    stepwave: Evaluate, prefect: str, evaluation: str, root: Path, starts: list[str], generate: Any, tmp_path: Path
) -> None:
    code, out, err = stepwave("evaluate", evaluation)
    assert code == 0, err
    assert "6 cells, of which 0 are done" in err
    assert sorted(starts) == ["draft", "prm", "target"], "engines are started once, not once a cell"
    cells = ["mixed/target-s0", "mixed/warm-s0", "mixed/rsd-0.5-s0", "gsm/target-s0", "gsm/warm-s0", "gsm/rsd-0.5-s0"]
    assert sorted(f"{p.parent.name}/{p.name}" for p in root.glob("runs/*/*")) == sorted(cells)
    for cell in cells:
        check(root / "runs" / cell)
    assert pl.read_parquet(root / "problems" / "gsm.parquet").height == 9
    assert read_tables(root / "runs/gsm/warm-s0")[0].height == 2 * 8

    table = pl.read_parquet(root / "table.parquet")
    assert table.columns == EVALUATION.names
    assert table.select("benchmark", "method").rows() == [
        (benchmark, method) for benchmark in ("mixed", "gsm", "mean") for method in ("target", "warm", "rsd")
    ]
    assert pl.read_csv(root / "table.csv").height == 9
    assert "| rsd | 0.5 |" in (root / "table.md").read_text()
    assert "mean of 2 benchmarks" in out
    assert all((table["seconds"] > 0) & (table["problems_per_second"] > 0))
    assert table.filter(method="rsd")["target_share"].is_between(0.1, 0.9).all()

    # a cell is what `generate` would have written
    config = load_config(str(root / "runs/mixed/rsd-0.5-s0/config.yaml"), [f"output.path={tmp_path}/alone"])
    generate(config)
    for a, b in zip(read_tables(root / "runs/mixed/rsd-0.5-s0"), read_tables(tmp_path / "alone"), strict=True):
        assert_frame_equal(a.drop("wave", strict=False), b.drop("wave", strict=False))

    # what is done is not done again
    before = content(root)
    starts.clear()
    code, out, err = stepwave("evaluate", evaluation, "--json")
    assert code == 0, err
    assert (content(root), starts) == (before, [])
    found = json.loads(out)
    assert [f"{cell['benchmark']}/{cell['name']}" for cell in found["cells"]] == cells
    assert found["table"] == table.to_dicts()

    # what is added is
    starts.clear()
    code, out, err = stepwave("evaluate", evaluation, "--set", "seeds=[0, 1]", "--set", "methods.0.max_steps=6")
    assert code == 0, err
    assert "8 cells, of which 6 are done" in err
    assert "open: warm-s1 on mixed, warm-s1 on gsm" in err
    assert starts == ["target"], "no engine is started that no open cell uses"
    assert {k: v for k, v in content(root).items() if k in before} == before
    assert pl.read_parquet(root / "table.parquet").filter(method="warm")["seeds"].to_list() == [2, 2, 2]

    # what is changed is refused, before anything is loaded
    starts.clear()
    changed = stepwave("evaluate", evaluation, "--set", "decoding.max_tokens=80")
    assert changed[0] == 2
    assert "runs/mixed/target-s0: holds a run of another configuration (decoding.max_tokens: 90 there" in changed[2]
    assert starts == []
    assert yaml.safe_load((root / "evaluation.yaml").read_text())["decoding"]["max_tokens"] == 90
    Path(evaluation).with_name("gsm.jsonl").write_text('{"question": "1?", "answer": "#### 1"}')
    changed = stepwave("evaluate", evaluation)
    assert changed[0] == 2
    assert "benchmarks.1.path" in changed[2]


def test_reward_models_side_by_side(
    stepwave: Evaluate,
    prefect: str,
    evaluation: str,
    root: Path,
    starts: list[str],
    generate: Any,
    tmp_path: Path,
    models: Path,
    problem_set: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grade_by_parity(monkeypatch)
    problem_set(MIXED | {"answer": [str(n % 2) for n in range(60)]})
    values = yaml.safe_load(Path(evaluation).read_text())
    small = {"model": str(models / "prm"), "engine": {"kind": "scripted", "max_model_len": 51}}
    values |= {
        "benchmarks": values["benchmarks"][:1],
        "methods": [{"method": "target"}, {"method": "rsd"}, {"method": "rsd", "prm": "small"}],
        "prms": {"small": small},
    }

    def evaluated(*words: str) -> Said:
        Path(evaluation).write_text(yaml.safe_dump(values))
        starts.clear()
        return stepwave("evaluate", evaluation, *words)

    code, out, err = evaluated()
    assert code == 0, err
    assert sorted(starts) == sorted(2 * ["draft", "target", "prm"]), "each reward model has engines of its own"
    table = {row["method"]: row for row in pl.read_parquet(root / "table.parquet").filter(benchmark="mixed").to_dicts()}
    assert table["rsd-small"]["problems"] < table["rsd"]["problems"], "what is too long for it"
    assert [row["prm"] for row in table.values()] == [None, None, "small"]
    pair = [pl.read_parquet(root / f"runs/mixed/{name}-0.5-s0/solutions/*.parquet") for name in ("rsd-small", "rsd")]
    both = pair[0].join(pair[1], on="problem_id", suffix="_of_other")
    difference = (both["correct"].cast(pl.Float64) - both["correct_of_other"]).mean()
    assert difference
    assert [row["prm_difference"] for row in table.values()] == [None, None, pytest.approx(difference)]
    assert "against models.prm" in out
    assert "Against models.prm" in (root / "report/index.html").read_text()
    before = content(root)

    # more of them, of which one is the writer's own, and beside them a method that asks none
    values["methods"] += [{"method": "rsd", "prm": label} for label in ("judge", "sure")] + [{"method": "draft"}]
    values["prms"] |= {"judge": {"same_as": "target", "format": "judge"}, "sure": {"format": "confidence"}}
    code, _, err = evaluated()
    assert code == 0, err
    assert sorted(starts) == ["draft", "target"]
    assert {key: value for key, value in content(root).items() if key in before} == before
    for name in ("rsd-small-0.5-s0", "rsd-judge-0.5-s0", "rsd-sure-0.5-s0"):
        cell = root / "runs/mixed" / name
        check(cell)
        generate(load_config(str(cell / "config.yaml"), [f"output.path={tmp_path}/{name}"]))
        for a, b in zip(read_tables(cell), read_tables(tmp_path / name), strict=True):
            assert_frame_equal(a.drop("wave", strict=False), b.drop("wave", strict=False))

    # mistakes are told by the field that the user wrote
    changed = evaluated("--set", "prms.small.engine.max_model_len=60")
    assert changed[0] == 2
    told = "holds a run of another configuration (prms.small.engine.max_model_len: 51 there, 60 here"
    assert f"runs/mixed/rsd-small-0.5-s0: {told}" in changed[2]
    mistaken = evaluated("--set", "prms.small.engine.steps=0", "--set", f"output.path={tmp_path}/new")
    is_mistake((2, "", mistaken[2].splitlines()[-1]), "prms.small.engine.steps")
    assert starts == []


def test_an_evaluation_that_died_goes_on(
    stepwave: Evaluate, prefect: str, evaluation: str, root: Path, tmp_path: Path
) -> None:
    dies = ("--set", "models.prm.engine.crash=' 5 spoons.'", "--set", "benchmarks.0.limit=30")
    code, _, err = stepwave("evaluate", evaluation, *dies)
    assert code == 1
    assert "what was committed or checkpointed is kept; to go on: stepwave evaluate" in err
    done = content(root / "runs" / "mixed" / "target-s0")
    assert (root / "runs/mixed/target-s0/manifest.json").exists()
    assert not (root / "runs/mixed/rsd-0.5-s0/manifest.json").exists()

    code, _, err = stepwave("evaluate", evaluation, "--set", "benchmarks.0.limit=30")
    assert code == 0, err
    assert "6 cells, of which 2 are done\nopen: rsd-0.5-s0 on mixed (begun), target-s0 on gsm, " in err
    assert content(root / "runs" / "mixed" / "target-s0") == done
    whole = ("--set", f"output.path={tmp_path}/whole", "--set", "benchmarks.0.limit=30")
    assert stepwave("evaluate", evaluation, *whole)[0] == 0
    for cell in root.glob("runs/*/*"):
        check(cell)
        other = tmp_path / "whole" / cell.relative_to(root)
        for a, b in zip(read_tables(cell), read_tables(other), strict=True):
            assert_frame_equal(a.drop("wave", strict=False), b.drop("wave", strict=False))
    measured = ["seconds", "problems_per_second", "flops_computed"]  # what was lost was computed again
    tables = [pl.read_parquet(path / "table.parquet").drop(measured) for path in (root, tmp_path / "whole")]
    assert_frame_equal(*tables)


def test_failed_problems_are_told_and_count_as_wrong(
    stepwave: Evaluate, prefect: str, evaluation: str, root: Path
) -> None:
    refusing = ["--set", "models.draft.engine.refuse=' 5 spoons.'", "--set", "methods=[{method: rsd}]"]
    code, out, err = stepwave("evaluate", evaluation, *refusing)
    assert code == 3
    assert "1 solutions failed in 1 cells" in err
    assert f"stepwave generate {root}/runs/mixed/rsd-0.5-s0/config.yaml --retry-failed" in err
    assert "mixed: 56 problems" in out


def test_mistakes_are_told_before_anything_is_loaded(
    stepwave: Evaluate, prefect: str, evaluation: str, root: Path, tmp_path: Path, starts: list[str], mixed: str
) -> None:
    def of(*changes: str) -> Said:
        code, out, err = stepwave("evaluate", evaluation, *(w for change in changes for w in ("--set", change)))
        return code, out, "\n".join(line for line in err.splitlines() if line.startswith("stepwave: "))

    is_mistake(of("methods.1.name=target"), "evaluation.yaml", "methods: the name target is given twice")
    is_mistake(of("methods.1.method=beem"), "evaluation.yaml", "methods.1.method")
    is_mistake(of("models.prm=null"), "evaluation.yaml", "methods.2 (rsd)", "models.prm")
    is_mistake(of("benchmarks.0.path=/no.parquet"), "benchmarks.0.path", "/no.parquet")
    is_mistake(of("benchmarks.1.path=/no.jsonl"), "benchmarks.1", "/no.jsonl")
    is_mistake(of("benchmarks.1.format=null"), "benchmarks.1.format is missing", "gsm.jsonl", "known: ", "gsm8k")
    is_mistake(of("benchmarks.1.format=gsm9k"), "benchmarks.1", "gsm9k", "did you mean gsm8k?")
    is_mistake(of("models.draft.model=/no/such"), "models.draft.model", "/no/such")
    is_mistake(of(f"output.path={mixed}/x"), mixed)
    is_mistake(of(f"output.path={Path(mixed).parent}"), "files that benchmarks.0.path reads as problems")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").write_text("mine")
    is_mistake(of(f"output.path={tmp_path}/others"), "not an evaluation's", "notes.txt")
    assert starts == []
    assert not list(root.glob("runs/*/*"))


def test_an_evaluation_in_a_bucket(stepwave: Evaluate, prefect: str, evaluation: str, s3: str) -> None:
    words = [evaluation, "--set", f"output.path={s3}/evaluation", "--set", "methods=[{method: target}]"]
    code, out, err = stepwave("evaluate", *words)
    assert code == 0, err
    assert f"written to {s3}/evaluation/table.md" in out
    code, out, err = stepwave("evaluate", *words, "--json")
    assert code == 0, err
    assert "2 cells, of which 2 are done" in err
    assert [row["problems"] for row in json.loads(out)["table"]] == [56, 8, 64]
