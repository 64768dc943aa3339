"""The recipes of tasks/README.md: what they show is added at run time, as they say, and works."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from decoding.worlds import World, run
from export.made import draft, solved, write_run

from flows.export import export
from schemas import export as export_options
from schemas.config import DecodingConfig, PrmConfig, PromptConfig
from schemas.engine_kinds import ENGINE_KINDS, EngineRecord
from schemas.export import ExportOptions
from schemas.methods import METHODS, MethodRecord
from schemas.prm_formats import PRM_FORMATS, FormatRecord
from schemas.tables import column
from tasks.decoding import DECODERS, Decoder
from tasks.decoding.acceptance import RULES, probability
from tasks.engines import KINDS, Kind, open_engines
from tasks.engines.spec import EngineSpec
from tasks.export import card, dataset
from tasks.models.checkpoint import inspect
from tasks.models.formats import FORMATS, open_format
from tasks.models.tokenizer import ModelVocabulary
from tasks.problems.importing import FORMATS as BENCHMARKS
from tasks.problems.importing import import_problems
from tasks.storage.stores import Stores

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "tasks" / "README.md").read_text()


@pytest.fixture
def recipe(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module that a section's block of Python is. `request.param`: the section's heading."""
    section = README.split(f"\n## {request.param}\n")[1].split("\n## ")[0]
    [code] = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    module = ModuleType("recipe")
    sys.modules["recipe"] = module
    exec(compile(code, f"tasks/README.md, {request.param}", "exec"), module.__dict__)
    yield module
    del sys.modules["recipe"]


def recipes(heading: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recipe", [heading], indirect=True)


@recipes("Add a method")
def test_a_method(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, "alternate", Decoder(recipe.step))
    monkeypatch.setitem(METHODS, "alternate", MethodRecord(roles=("draft", "target")))
    settings = DecodingConfig(max_steps=5, max_tokens=400).model_copy(update={"method": "alternate"})
    roles = ("draft", "target")
    world = World({"a": "ab", "b": "ba"}, settings, dict.fromkeys(roles, 500), dict.fromkeys(roles, "bytes"), 0.0, 0.0)
    for trajectory in run(world):
        assert [step.role for step in trajectory.steps] == ["draft", "target", "draft", "target", "draft"]
        assert trajectory.status == "max_steps"


@recipes("Add an acceptance rule")
def test_an_acceptance_rule(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, recipe.Squared, recipe.squared)
    assert probability(0.5, recipe.Squared(rule="squared")) == 0.25


@recipes("Add a reward model format")
def test_a_reward_model_format(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    monkeypatch.setitem(FORMATS, "separated", recipe.SeparatedFormat)
    monkeypatch.setitem(PRM_FORMATS, "separated", FormatRecord())
    settings = PrmConfig(model=str(models / "prm"))
    vocabulary = ModelVocabulary("prm", settings, PromptConfig(), FORMATS["separated"].template)
    checkpoint = inspect("prm", settings)
    usual = open_format(settings, checkpoint, vocabulary)
    other = open_format(settings.model_copy(update={"format": "separated"}), checkpoint, vocabulary)
    [without], [ids] = usual.encode_steps(["So 2.\n\n"], [0]), other.encode_steps(["So 2.\n\n"], [0])
    assert (vocabulary.decode_steps([without[:-1], ids[:-1]])) == ["So 2.", "So 2.\n\n"]
    assert ids[-1] == without[-1], "both end in the tag"


@recipes("Add an engine kind")
def test_an_engine_kind(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    monkeypatch.setitem(KINDS, "made_up", Kind(recipe.open_engine, recipe.check))
    monkeypatch.setitem(ENGINE_KINDS, "made_up", EngineRecord())
    settings = PrmConfig(model=str(models / "draft"))
    vocabularies = {"draft": ModelVocabulary("draft", settings, PromptConfig())}
    told: list[str] = []

    async def scene() -> int:
        specs = [EngineSpec("draft", settings.model, "made_up", 512)]
        async with open_engines(specs, vocabularies, told.append, told.append, 0, 60.0) as engines:
            return len(engines)

    assert asyncio.run(scene()) == 1
    assert "draft: no model is loaded, steps are made up" in told


@recipes("Add an export")
def test_an_export(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    columns = [column(name, pa.string(), name) for name in ("problem", "solution", "run_id", "problem_id")]
    schema = pa.schema([*columns, column("sample", pa.int32(), "sample of the problem")])
    monkeypatch.setitem(dataset.BUILDERS, "wrong", recipe)  # type: ignore[misc]
    monkeypatch.setattr(dataset, "schema", lambda kind, messages: schema)
    monkeypatch.setattr(export_options, "KINDS", (*export_options.KINDS, "wrong"))
    monkeypatch.setattr(card, "card", lambda *_: "---\n---\n")
    source = write_run(tmp_path / "run", [[solved("p0", draft("So 2."), correct=False), solved("p1", draft("So 3."))]])
    report = export("wrong", [source], str(tmp_path / "data"), ExportOptions(splits="none"), Stores())
    assert report["left_out"] == {"not wrong": 1}
    [row] = pl.read_parquet(tmp_path / "data" / "data" / "*.parquet").to_dicts()
    assert (row["problem_id"], row["solution"]) == ("p0", "So 2.")


@recipes("Add a benchmark")
def test_a_benchmark(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(BENCHMARKS, "riddles", recipe.row)
    (tmp_path / "riddles.jsonl").write_text(json.dumps({"q": "What is 1 + 1?", "a": "2"}))
    dest = str(tmp_path / "riddles.parquet")
    assert import_problems("riddles", str(tmp_path / "riddles.jsonl"), dest, Stores()).rows == 1
    [row] = pq.read_table(dest).to_pylist()
    assert row == {"problem_id": "riddles-00000", "problem": "What is 1 + 1?", "answer": "2", "source": "riddles"}


def test_every_name_in_the_recipes_is_there() -> None:
    """What a reader is told to change exists: names of registries and of files."""
    sources = {
        path: path.read_text() for folder in ("schemas", "tasks", "tests") for path in (ROOT / folder).rglob("*.py")
    }
    code = "\n".join(text for path, text in sources.items() if path != Path(__file__))
    recipes_ = "\n".join(README.split("\n## Add ")[1:])
    prose = re.sub(r"^```.*?^```$", "", recipes_, flags=re.MULTILINE | re.DOTALL)
    registries = set(re.findall(r"`([A-Z][A-Z_]{3,})`", prose))
    assert {"METHODS", "DECODERS", "READ_BY", "RULES", "FORMATS", "KINDS", "BUILDERS"} <= registries
    assert [name for name in sorted(registries) if not re.search(rf"^{name}\b.* =", code, re.MULTILINE)] == []
    files = set(re.findall(r"`(?:[\w/]+/)?(\w+\.(?:py|tsv))`", prose)) - {"alternate.py"}
    there = {path.name for folder in ("schemas", "tasks", "tests") for path in (ROOT / folder).rglob("*.*")}
    assert files <= there
