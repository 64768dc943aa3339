"""The demo's problems: their steps can be checked, and the bundled set is what its README says."""

import importlib.util
import json
import random
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

pytestmark = pytest.mark.tier2

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo"


@pytest.fixture(scope="module")
def problems() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_problems", DEMO / "recipe" / "problems.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_step_of_a_made_solution_is_true(problems: ModuleType) -> None:
    rng = random.Random(1)
    for _ in range(300):
        p = problems.make_problem(rng)
        assert all(problems.label_steps(p["steps"], p["truth"], p["answer"]))
        assert problems.boxed("\n\n".join(p["steps"])) == p["answer"]
        assert len(p["problem"].splitlines()) == p["depth"] + 1


def test_a_wrong_malformed_or_repeated_step_is_false(problems: ModuleType) -> None:
    rng = random.Random(2)
    for _ in range(100):
        p = problems.make_problem(rng)
        at = rng.randrange(len(p["steps"]))
        step = p["steps"][at]
        off_by_one = step.rsplit("=", 1)[0] + f"={int(step.rsplit('=', 1)[1].split('.')[0].split(',')[0]) + 1}."
        wrong = [off_by_one, step + "!", ""]
        wrong += [p["steps"][at - 1]] if at else []
        for text in wrong:
            labels = problems.label_steps([*p["steps"][:at], text, *p["steps"][at + 1 :]], p["truth"], p["answer"])
            assert labels == [i != at for i in range(len(labels))]


def test_a_seed_always_gives_the_same_problem(problems: ModuleType) -> None:
    p = problems.make_problem(random.Random(0), n_facts=3)
    assert p == problems.make_problem(random.Random(0), n_facts=3)
    assert p["depth"] == 3


def test_bundled_problems(problems: ModuleType) -> None:
    table = pl.read_parquet(DEMO / "problems.parquet")
    assert table.columns == ["problem_id", "problem", "answer", "level", "source", "truth"]
    assert table.height == 500
    assert table["problem_id"].n_unique() == table["problem"].n_unique() == 500
    for problem, answer, level, truth in table.select("problem", "answer", "level", "truth").rows():
        *facts, question = problem.splitlines()
        values = json.loads(truth)
        asked = "together" if question.endswith("together?") else facts[-1].split()[0]
        assert str(values[asked]) == answer
        assert len(facts) == level
        last = f"{asked}={answer}, so the answer is \\boxed{{{answer}}}."
        assert problems.label_steps([last], values, answer) == [True]


def test_bundled_models_carry_the_recipes_chat_template(problems: ModuleType) -> None:
    for name in ("draft", "target", "prm"):
        assert (DEMO / "models" / name / "chat_template.jinja").read_text() == problems.CHAT_TEMPLATE
