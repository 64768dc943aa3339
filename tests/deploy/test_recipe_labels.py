"""What the recipe of the PRM makes of a dataset: the right labels at the right tokens."""

import importlib
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from schemas.config import PrmConfig, PromptConfig
from tasks.models.checkpoint import inspect
from tasks.models.formats import open_format
from tasks.models.tokenizer import ModelVocabulary

pytestmark = pytest.mark.tier2

RECIPE = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "recipe"
PROMPT = "<|im_start|>user\nAna has 12 apples.\nBo has 3 more apples than Ana.<|im_end|>\n<|im_start|>assistant\n"
STEPS = ["Ana has 12 apples, so Ana=12.", "Bo has 3 more apples than Ana. Ana=12, and 12 + 3 = 16, so Bo=16."]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPE)
    return importlib.import_module("train_prm")


def write_dataset(folder: Path, rows: list[tuple[str, list[str], list[bool]]], split: str = "train") -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(rows, schema=["prompt", "completions", "labels"], orient="row")
    table.write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
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


def test_what_is_trained_is_a_prm_that_stepwave_reads(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few steps of training, from a dataset to scores."""
    monkeypatch.setattr(recipe, "BATCH", 3)
    rows = [(PROMPT, STEPS, [True, False]), (PROMPT, STEPS[:1], [True]), (PROMPT, STEPS[1:], [False])] * 40
    data = write_dataset(write_dataset(tmp_path, rows), rows[:16], "test")
    recipe.train_prm(data, tmp_path / "prm", recipe.STRONG, 2, 2)
    settings = PrmConfig(model=str(tmp_path / "prm"))
    checkpoint, vocabulary = inspect("prm", settings), ModelVocabulary("prm", settings, PromptConfig())
    assert open_format(settings, checkpoint, vocabulary).class_values == (0.0, 1.0)
    measure = importlib.import_module("measure")
    problem = "Ana has 12 apples."
    scores = measure.step_scores(measure.load_prm(tmp_path / "prm"), [(problem, STEPS, [True, False])])
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores < 1)).all()


def test_a_dataset_without_a_test_split_is_told(recipe: ModuleType, tmp_path: Path) -> None:
    data = write_dataset(tmp_path, [(PROMPT, STEPS, [True, False])])
    with pytest.raises(SystemExit, match="with the splits train and test"):
        recipe.train_prm(data, tmp_path / "prm", recipe.STRONG, 1, 1)
