"""deploy/layouts: what their comments say of memory is what `check` says, and their sums are right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkpoint_shapes import SHAPES, make

from flows.check import check, lines
from tasks.engines.devices import read_gpus
from tasks.engines.gpu_memory import GIB, OVERHEAD
from tasks.output.config_file import load_config

LAYOUTS = Path(__file__).resolve().parents[2] / "deploy" / "layouts"
PLACES = {"one-gpu": "1x80", "four-gpus": "4x80", "eight-gpus": "8x80"}
ROWS = 3_000
"""Problems: more than may be in flight at once."""
Checked = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the layouts' models, by hub id."""
    root = tmp_path_factory.mktemp("hub")
    for model in SHAPES:
        make(model, root / model)
    return root


@pytest.fixture
def checked(checkpoints: Path, problem_set: Callable[..., str], tmp_path: Path) -> Checked:
    """The report of a layout, and its lines with hub ids in the place of folders."""
    problems = problem_set({"problem": [f"What is {n} + 1?" for n in range(ROWS)]})

    def run(layout: str, gpus: str, *changes: str) -> tuple[dict[str, Any], str]:
        path = LAYOUTS / f"{layout}.yaml"
        models = yaml.safe_load(path.read_text())["models"]
        here = [f"models.{role}.model={checkpoints / model['model']}" for role, model in models.items()]
        paths = [f"input.path={problems}", f"output.path={tmp_path / 'out'}"]
        report = check(load_config(str(path), [*here, *paths, *changes]), read_gpus(gpus))
        return report, "\n".join(lines(report)).replace(f"{checkpoints}/", "")

    return run


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(("layout", "gpus"), PLACES.items())
def test_comments_say_what_check_says(layout: str, gpus: str, checked: Checked) -> None:
    comments = re.findall("^#(.*)$", (LAYOUTS / f"{layout}.yaml").read_text(), re.MULTILINE)
    said = one_line(" ".join(comments))
    report, text = checked(layout, gpus)
    told = [line for line in text.split("\n") if line.startswith(("draft", "target", "prm", " ", "in flight"))]
    assert len(told) == 7
    for line in told:
        assert one_line(line) in said
    filled: dict[int, float] = {}
    for model in report["models"].values():
        assert model["turns"] is None
        for gpu in map(int, re.findall(r"\d+", model["device"])):
            filled[gpu] = filled.get(gpu, 0) + (model["weight_bytes"] + model["cache_bytes"] + OVERHEAD) / GIB
    assert len(filled) == int(gpus.split("x")[0])
    assert all(72.5 < gib <= 0.92 * 80 for gib in filled.values())


NUMBER = r"\d[\d,]*(?:\.\d+)?"
EQUATION = re.compile(rf"({NUMBER}(?: [+x/] {NUMBER})+) = ({NUMBER})")


@pytest.mark.parametrize("layout", PLACES)
def test_sums_in_comments_are_right(layout: str) -> None:
    text = one_line(" ".join(re.findall("^#(.*)$", (LAYOUTS / f"{layout}.yaml").read_text(), re.MULTILINE)))
    equations = EQUATION.findall(text)
    assert len(equations) >= 5
    for left, right in equations:
        value = eval(left.replace(",", "").replace("x", "*"))
        assert math.isclose(value, float(right.replace(",", "")), abs_tol=0.11 if "." in right else 0), (left, right)


def test_an_emulated_card_is_planned_as_a_real_one(checked: Checked, problem_set: Callable[..., str]) -> None:
    values = yaml.safe_load((LAYOUTS / "emulated.yaml").read_text())
    here = [f"models.{role}.model={LAYOUTS.parents[1] / model['model']}" for role, model in values["models"].items()]
    source = problem_set({"problem": ["What is 1 + 1?"]})
    emulated = check(load_config(str(LAYOUTS / "emulated.yaml"), [*here, f"input.path={source}"]))
    real, _ = checked("one-gpu", "1x80")
    for role, model in emulated["models"].items():
        assert model["device"] == "emulated H100 0"
        assert model["cache_tokens"] == pytest.approx(real["models"][role]["cache_tokens"], rel=0.01)


def test_smaller_cards(checked: Checked) -> None:
    """What one-gpu.yaml says of them."""
    tight, _ = checked("one-gpu", "1x48")
    assert tight["in_flight"]["at_full_length"] == 23
    report, text = checked("one-gpu", "1x24")
    assert {model["turns"] for model in report["models"].values()} == {"gpu 0"}
    assert "weights that sleep take up to 30.3 GiB of host memory" in text
    apart, _ = checked("one-gpu", "2x24", "models.target.engine.device_ids=[1]")
    assert apart["models"]["target"]["turns"] is None
