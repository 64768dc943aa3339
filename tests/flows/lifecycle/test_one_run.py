"""An output holds one run: of one configuration, the same models, and one input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from lifecycle.begun_runs import STATES, content, export, go_on, is_refused, solved
from replaced import REPLACED, copied

from flows import check as checking
from flows.status import lines, status
from schemas.config import Config
from schemas.rollouts import RolloutOptions
from tasks.export.rollouts import request as rolling
from tasks.output.config_file import load_config
from tasks.report import write_report
from tasks.storage.sealed import unseal
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

Generate = Callable[[Config], dict[str, Any]]

Job = Callable[..., Config]

Whole = Callable[[], pl.DataFrame]

EDITS = [
    ("decoding.accept.threshold=0.2", "decoding.accept.threshold: 0.5 there, 0.2 here"),
    ("decoding.temperature=0.3", "decoding.temperature: 0.8 there, 0.3 here"),
    ("decoding.seed=9", "decoding.seed: 0 there, 9 here"),
    ("decoding.max_tokens=70", "decoding.max_tokens: 90 there, 70 here"),
    ("prompt.user='Solve: {problem}'", 'prompt.user: "{problem}" there, "Solve: {problem}" here'),
    ("input.limit=30", "input.limit: null there, 30 here"),
    ("models.draft.engine.steps=3", "models.draft.engine.steps: null there, 3 here"),
    ("prompt.system=null", "prompt.system: "),
]


@STATES
@pytest.mark.parametrize(("change", "told"), EDITS)
def test_an_edited_configuration_is_named(
    begun: Callable[[str], None], job: Job, out: Path, tmp_path: Path, state: str, change: str, told: str
) -> None:
    begun(state)
    edited = job(change)
    is_refused(out, told, lambda: go_on(edited), lambda: checking.check(edited))
    there = yaml.safe_load((out / "config.yaml").read_text())
    changed = yaml.safe_load(edited.model_dump_json())
    of = {name: changed[name] for name in ("decoding", "prompt", "input", "models")}
    (out / "config.yaml").write_text(yaml.safe_dump(there | of))
    rollouts = RolloutOptions(samples=2)
    is_refused(
        out,
        told,
        lambda: go_on(edited),
        lambda: checking.check(edited),
        lambda: write_report(Store(str(out))),
        lambda: export(out, tmp_path / "data"),
        lambda: rolling.choose_steps(rolling.read_request(str(out), str(tmp_path / "rolled"), rollouts, [])),
    )
    found = status(str(out), Stores())
    assert told in (found["mixed"] or "")
    assert any("was changed since the run began" in line for line in lines(found))


@STATES
def test_the_command_refuses_it_complete_or_not(
    begun: Callable[[str], None], generate: Generate, job: Job, out: Path, state: str
) -> None:
    begun(state)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("temperature: 0.8", "temperature: 0.3"))
    told = "config.yaml: was changed since the run began (decoding.temperature: 0.8 there, 0.3 here)"
    is_refused(out, told, lambda: generate(job("decoding.temperature=0.3")))


@STATES
@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("decoding.temperature", "decoding.temperature: 0.8 there, 0.0 here"),
        ("decoding.accept.threshold", "decoding.accept.threshold: 0.5 there, 0.7 here"),
        ("decoding.max_tokens", "decoding.max_tokens: 90 there, 4096 here"),
        ("decoding", "decoding."),
        ("run.shard_size", "run.shard_size: "),
    ],
)
def test_a_field_that_was_removed_is_named(
    begun: Callable[[str], None], out: Path, state: str, field: str, told: str
) -> None:
    begun(state)
    values = yaml.safe_load((out / "config.yaml").read_text())
    *sections, name = field.split(".")
    at = values
    for section in sections:
        at = at[section]
    del at[name]
    (out / "config.yaml").write_text(yaml.safe_dump(values))
    config = load_config(str(out / "config.yaml"), [])
    is_refused(out, "config.yaml: was changed since the run began", lambda: go_on(config))
    is_refused(out, told, lambda: checking.check(config), lambda: write_report(Store(str(out))))


@STATES
@pytest.mark.parametrize("left", [True, False], ids=["models are here", "models are gone"])
def test_models_that_change_places_are_named(
    begin: Callable[..., None], job: Job, out: Path, tmp_path: Path, state: str, left: bool
) -> None:
    begin(job(*copied(tmp_path / "models")), state)
    values = yaml.safe_load((out / "config.yaml").read_text())
    draft, target = values["models"]["draft"], values["models"]["target"]
    draft["model"], target["model"] = target["model"], draft["model"]
    (out / "config.yaml").write_text(yaml.safe_dump(values))
    if left:
        config = load_config(str(out / "config.yaml"), [])
        is_refused(out, "models.draft: ", lambda: go_on(config), lambda: checking.check(config))
    else:
        shutil.rmtree(tmp_path / "models")
    models = tmp_path / "models"
    told = f"models.draft.model: {models}/draft there, {models}/target here, which is another model"
    is_refused(out, told, lambda: write_report(Store(str(out))), lambda: export(out, tmp_path / "data"))
    assert told in (status(str(out), Stores())["mixed"] or "")


def test_models_that_lie_elsewhere_now_may_be_named_there(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, tmp_path: Path
) -> None:
    begin(job(*copied(tmp_path / "models")), "stopped")
    shutil.move(tmp_path / "models", tmp_path / "moved")
    text = (out / "config.yaml").read_text().replace(str(tmp_path / "models"), str(tmp_path / "moved"))
    (out / "config.yaml").write_text(text)
    generate(load_config(str(out / "config.yaml"), []))
    assert status(str(out), Stores())["mixed"] is None
    shutil.rmtree(tmp_path / "moved")
    write_report(Store(str(out)))


@pytest.mark.parametrize("moved", [False, True])
def test_a_complete_run_is_told_without_a_tokenizer(
    begun: Callable[[str], None],
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moved: bool,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tokenizer is loaded")

    begun("complete")
    monkeypatch.setattr("tasks.planning.plan.ModelVocabulary", refuse)
    before = {name: of for name, of in content(out).items() if not name.startswith("report/")}
    manifest = generate(job(*(copied(tmp_path / "moved") if moved else [])))
    assert manifest == unseal((out / "manifest.json").read_bytes())
    assert {name: of for name, of in content(out).items() if not name.startswith("report/")} == before


@pytest.mark.parametrize("change", ["a shard", "the input", "another file", "the input's first rows"])
def test_what_is_not_complete_or_another_input_is_looked_into(
    begin: Callable[..., None], generate: Generate, job: Job, mixed: str, out: Path, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "problems"
    folder.mkdir()
    shutil.copy(mixed, folder / "a.parquet")
    limit = ["input.limit=20"] if "rows" in change else []
    config = job(f"input.path={folder}", *limit)
    begin(config, "complete")
    if change == "a shard":
        (out / "shards" / "00001.json").unlink()
        generate(config)
        assert (out / "shards" / "00001.json").exists()
        return
    if change == "the input":
        pl.read_parquet(folder / "a.parquet").reverse().write_parquet(folder / "a.parquet")
    else:
        shutil.copy(mixed, folder / "b.parquet")
    if limit:  # those that are taken are as they were
        generate(config)
    else:
        is_refused(out, "holds a run of another input", lambda: generate(config))


@pytest.mark.parametrize("change", list(REPLACED))
def test_a_complete_run_of_other_models_is_refused_by_the_command(
    begun: Callable[[str], None], generate: Generate, job: Job, out: Path, tmp_path: Path, change: str
) -> None:
    begun("complete")
    config = job(*copied(tmp_path / "models", "draft"))
    act, told = REPLACED[change]
    act(tmp_path / "models" / "draft")
    is_refused(out, f"models.draft: {told}", lambda: generate(config))


def test_what_decides_nothing_may_be_edited(
    begun: Callable[[str], None], whole: Whole, generate: Generate, job: Job, out: Path
) -> None:
    begun("stopped")
    values = yaml.safe_load((out / "config.yaml").read_text())
    values["run"] |= {"in_flight": 3, "store_patience": 9.0}
    values["output"]["path"] = "/elsewhere"
    values["models"]["draft"]["engine"]["seconds"] = 0.0
    (out / "config.yaml").write_text(yaml.safe_dump(values))
    generate(job("run.in_flight=5"))
    assert solved(out).equals(whole())


@pytest.mark.parametrize(
    ("role", "change", "state"),
    [
        *(("draft", change, "stopped") for change in REPLACED),
        *(("draft", change, "complete") for change in REPLACED),
        ("target", "weights", "stopped"),
        ("target", "end of text", "complete"),
        ("prm", "weights", "complete"),
        ("prm", "chat template", "stopped"),
    ],
)
def test_a_model_that_was_replaced_is_named(
    begun: Callable[[str], None], job: Job, out: Path, tmp_path: Path, state: str, role: str, change: str
) -> None:
    begun(state)
    config = job(*copied(tmp_path / "models", role))
    checking.check(config)
    act, told = REPLACED[change]
    act(tmp_path / "models" / role)
    is_refused(out, f"models.{role}: {told}", lambda: go_on(config), lambda: checking.check(config))


@STATES
def test_a_model_that_was_moved_is_the_same(
    begun: Callable[[str], None], whole: Whole, generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    begun(state)
    manifest = generate(job(*copied(tmp_path / "moved")))
    assert solved(out).equals(whole())
    assert {manifest["run_id"]} == set(solved(out)["run_id"])
