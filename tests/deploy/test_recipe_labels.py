"""What the recipe of the PRM makes of a dataset: the right labels at the right tokens."""

import importlib
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

RECIPE = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "recipe"
PROMPT = "<|im_start|>user\nAna has 12 apples.\nBo has 3 more apples than Ana.<|im_end|>\n<|im_start|>assistant\n"
STEPS = ["Ana has 12 apples, so Ana=12.", "Bo has 3 more apples than Ana. Ana=12, and 12 + 3 = 16, so Bo=16."]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPE)
    return importlib.import_module("train_prm")


def write_dataset(folder: Path, rows: list[tuple[str, list[str], list[bool]]], rolled_out: bool = False) -> Path:
    (folder / "data").mkdir(parents=True)
    table = pl.DataFrame(rows, schema=["prompt", "completions", "labels"], orient="row")
    estimates = [list(map(float, labels)) if rolled_out else None for labels in table["labels"]]
    table = table.with_columns(estimates=pl.Series(estimates, dtype=pl.List(pl.Float32)))
    table.write_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


def test_labels_stand_at_the_steps_tags(recipe: ModuleType, tmp_path: Path) -> None:
    data = write_dataset(tmp_path, [(PROMPT, STEPS, [True, False])])
    found = recipe.load_solutions(data, "train", 10)
    assert len(found) == 1
    ids, length = found.ids[0], found.length[0]
    assert recipe.TOK.decode(ids[:length]) == PROMPT + "".join(f"{step}<extra_0>" for step in STEPS)
    assert set(ids[length:]) == {recipe.PAD}
    tags = np.flatnonzero(ids == recipe.TAG)
    assert found.step[0, tags].tolist() == [1, 0]
    assert np.flatnonzero(found.step[0] != recipe.NO_LABEL).tolist() == tags.tolist()
    for label, step in zip((1, 0), STEPS, strict=True):
        assert recipe.TOK.decode(ids[found.within[0] == label]) == step


def test_tokens_are_those_that_the_format_makes(recipe: ModuleType, tmp_path: Path) -> None:
    """White space around a step goes; a row that is too long goes whole."""
    data = write_dataset(
        tmp_path, [(PROMPT, [STEPS[0] + "\n", " \n"], [True, True]), (PROMPT, STEPS * 20, [True] * 40)]
    )
    found = recipe.load_solutions(data, "train", 10)
    assert [recipe.TOK.decode(ids[:n]) for ids, n in zip(found.ids, found.length, strict=True)] == [
        f"{PROMPT}{STEPS[0]}<extra_0><extra_0>"
    ]


def test_some_solutions_end_at_their_first_wrong_step(recipe: ModuleType, tmp_path: Path) -> None:
    data = write_dataset(tmp_path, [(PROMPT, STEPS, [False, False])] * 50 + [(PROMPT, STEPS, [True, True])] * 50)
    found = recipe.load_solutions(data, "train", 100)
    labels = [tuple(row[row != recipe.NO_LABEL]) for row in found.step]
    assert labels.count((1, 1)) == 50
    assert labels.count((0,)) + labels.count((0, 0)) == 50
    assert labels.count((0,)) in range(15, 46)


def test_a_right_way_on_from_a_later_step_is_one_from_those_before_it(recipe: ModuleType) -> None:
    """Also where another solution with the same steps found it; another problem's steps are others."""
    third = "Bo=16, so the answer is \\boxed{16}."
    rows = [(PROMPT, [*STEPS, third], [False, True, False]), (PROMPT, [STEPS[0], third], [False, False])]
    rows += [("Another", STEPS, [False, False])]
    table = pl.DataFrame(rows, schema=["prompt", "completions", "labels"], orient="row")
    settled = recipe.right_by_what_follows(table).to_list()
    assert settled == [[True, True, False], [True, False], [False, False]]


def test_only_labels_from_roll_outs_are_settled_by_what_follows(recipe: ModuleType, tmp_path: Path) -> None:
    rows = [(PROMPT, STEPS, [False, True])] * 20
    rolled_out = recipe.load_solutions(write_dataset(tmp_path / "rollouts", rows, True), "train", 20)
    assert {tuple(row[row != recipe.NO_LABEL]) for row in rolled_out.step} == {(1, 1)}
    by_reward = recipe.load_solutions(write_dataset(tmp_path / "reward", rows), "train", 20)
    assert {tuple(row[row != recipe.NO_LABEL]) for row in by_reward.step} == {(0, 1), (0,)}


def test_a_wrong_step_is_wrong_from_its_first_unexpected_token_on(recipe: ModuleType) -> None:
    n = recipe.NO_LABEL
    within = np.array([[n, 1, 1, n, 0, 0, 0, n, 0, 0, n], [n, 1, 1, n, 0, 0, 0, n, n, n, n]])
    expected = np.array([[1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1]])
    assert recipe.right_so_far(within, expected).tolist() == [
        [n, 1, 1, n, 1, 0, 0, n, n, n, n],
        [n, 1, 1, n, 0, 0, 0, n, n, n, n],
    ]


def test_the_bundled_problems_prompt_is_the_templates(recipe: ModuleType) -> None:
    """`export --template` with any of the demo's models words a problem as measure.py does."""
    problems = importlib.import_module("problems")
    problem = "Ana has 2 apples.\nHow many apples does Ana have?"
    asked = [{"role": "system", "content": problems.SYSTEM}, {"role": "user", "content": problem}]
    words = recipe.TOK.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert words == problems.chat_prompt(problem)


def test_the_language_model_finds_the_token_that_makes_a_step_wrong(recipe: ModuleType, tmp_path: Path) -> None:
    problems = importlib.import_module("problems")
    p = problems.make_problem(random.Random(3), n_facts=3)
    false = p["steps"][1].replace(f"={list(p['truth'].values())[1]}.", "=999.")
    data = write_dataset(tmp_path, [(problems.chat_prompt(p["problem"]), [p["steps"][0], false], [True, False])])
    full = recipe.grow(recipe.STRONG)
    model, norm = full.model, full.model.norm
    model.layers, model.norm = model.layers[: -recipe.EXTRA], recipe.nn.Identity()
    states = recipe.States(model, norm, recipe.load_solutions(data, "train", 1))
    ids = states.solutions.ids[0]
    assert recipe.TOK.decode(ids[states.so_far[0] == 1]) == p["steps"][0] + false.removesuffix("999.")
    assert recipe.TOK.decode(ids[states.so_far[0] == 0]) == "999."
