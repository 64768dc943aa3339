"""Outputs with files of another run or an older release, and those that were moved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from lifecycle.begun_runs import STATES, content, dated, export, go_on, is_refused, solved
from replaced import REPLACED, copied

from flows import check as checking
from flows.status import status
from schemas.config import Config
from tasks.output.config_file import load_config
from tasks.output.directory import RunDirectory
from tasks.report import write_report
from tasks.storage.sealed import seal, unseal
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

Generate = Callable[[Config], dict[str, Any]]

Job = Callable[..., Config]

Whole = Callable[[], pl.DataFrame]


# --- files of other runs


@STATES
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("decoding.temperature=0.3", "decoding.temperature: 0.3 there, 0.8 here"),
        ("model", "models.target: other weights"),
        ("input", "another input"),
    ],
)
def test_records_of_another_run_are_named(
    begun: Callable[[str], None],
    whole: Whole,
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    problem_set: Callable[..., str],
    state: str,
    change: str,
    told: str,
) -> None:
    begun(state)
    changes, paths = [change], {}
    if change == "model":
        changes = copied(tmp_path / "models", "target")
        REPLACED["weights"][0](tmp_path / "models" / "target")
    if change == "input":
        changes, paths = [], {"input": problem_set({"problem": [f"What is {n}?" for n in range(60)]}, "others.parquet")}
    other = tmp_path / "other"
    generate(job(*changes, output=str(other), **paths))
    last = max(path.stem for path in (other / "shards").iterdir())
    for path in other.glob(f"*/{last}.*"):
        (out / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, out / path.parent.name / path.name)
    acts = [lambda: go_on(job()), lambda: checking.check(job()), lambda: export(out, tmp_path / "data")]
    for expected in (told, f"shards/{last}.json"):
        is_refused(out, expected, *acts)
    (out / "shards" / f"{last}.json").unlink()
    generate(job())
    assert solved(out).equals(whole())


def test_a_manifest_of_another_run_is_named(
    begun: Callable[[str], None], generate: Generate, job: Job, out: Path, tmp_path: Path
) -> None:
    begun("complete")
    generate(job("decoding.seed=3", output=str(tmp_path / "other")))
    shutil.copy(tmp_path / "other" / "manifest.json", out)
    told = "manifest.json: is of another run than this output's (decoding.seed: 3 there, 0 here)"
    is_refused(out, told, lambda: go_on(job()), lambda: write_report(Store(str(out))))


def made_old(out: Path, config: Config) -> None:
    """As that release left its files."""
    from tasks.configuration.identity import fingerprint_before, run_id

    values = yaml.safe_load((out / "config.yaml").read_text())
    del values["prompt"]["date"]
    text = yaml.safe_dump(values)
    (out / "config.yaml").write_text(text)
    for path in [*(out / "shards").iterdir(), out / "checkpoints" / "run.json", out / "manifest.json"]:
        if path.exists() and (told := unseal(path.read_bytes())):
            del told["identity"], told["made_with"]
            told["config_fingerprint"] = fingerprint_before(config, text)
            told["run_id"] = run_id(told["config_fingerprint"], told["input_fingerprint"])
            path.write_bytes(seal(told))


# --- outputs of a release that kept nothing of this


@STATES
def test_an_output_of_an_older_release_is_gone_on_with_and_read(
    begun: Callable[[str], None], generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    config = job()
    begun(state)
    made_old(out, config)
    report = checking.check(config)
    assert any("older release" in line for line in checking.lines(report)) == (state == "stopped")
    export(out, tmp_path / "data")
    write_report(Store(str(out)))
    assert status(str(out), Stores())["mixed"] is None
    manifest = generate(config)
    records = RunDirectory(Store(str(out))).records().good.values()
    assert {record["run_id"] for record in records} == {manifest["run_id"]}


def test_one_whose_prompts_tell_the_day_is_not_gone_on_with(
    begin: Callable[..., None], job: Job, out: Path, tmp_path: Path
) -> None:
    config = job(*dated(tmp_path / "models", "target"))
    begin(config, "stopped")
    made_old(out, config)
    is_refused(out, "did not keep the day that the chat template of target writes", lambda: go_on(config))


@STATES
@pytest.mark.parametrize("role", ["draft", "target", "prm"])
def test_one_that_told_models_by_their_places_alone_keeps_to_them(
    begun: Callable[[str], None], job: Job, models: Path, out: Path, tmp_path: Path, state: str, role: str
) -> None:
    begun(state)
    made_old(out, job())
    shutil.copytree(models / role, tmp_path / "another")
    other = job(f"models.{role}.model={tmp_path / 'another'}")
    told = f"models.{role}.model: "
    is_refused(out, told, lambda: go_on(other), lambda: checking.check(other))


@STATES
def test_one_that_was_edited_is_refused(begun: Callable[[str], None], job: Job, out: Path, state: str) -> None:
    config = job()
    begun(state)
    made_old(out, config)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("temperature: 0.8", "temperature: 0.3"))
    is_refused(out, "an older release of Stepwave wrote it", lambda: go_on(job("decoding.temperature=0.3")))


# --- moved, and without its configuration


@STATES
def test_an_output_that_was_moved_goes_on_where_it_lies(
    begun: Callable[[str], None], generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    begun(state)
    shutil.move(out, tmp_path / "moved")
    config = load_config(str(tmp_path / "moved" / "config.yaml"), [])
    assert config.output.path == str(tmp_path / "moved")
    generate(config)
    assert not out.exists()
    given = load_config(str(tmp_path / "moved" / "config.yaml"), [f"output.path={tmp_path / 'given'}"])
    assert given.output.path == str(tmp_path / "given")


@STATES
def test_one_without_its_configuration_is_named(
    begun: Callable[[str], None], job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    begun(state)
    (out / "config.yaml").unlink()
    told = "holds a run whose config.yaml is gone"
    is_refused(
        out,
        told,
        lambda: go_on(job()),
        lambda: checking.check(job()),
        lambda: export(out, tmp_path / "data"),
        lambda: write_report(Store(str(out))),
    )
    assert told in (status(str(out), Stores())["mixed"] or "")


def test_what_it_is_made_with_is_told_where_it_changed(
    begun: Callable[[str], None], job: Job, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun("stopped")
    assert checking.check(job())["words"] == []
    monkeypatch.setenv("VLLM_ATTENTION_BACKEND", "FLASHINFER")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    [line] = checking.check(job())["words"]
    assert "VLLM_ATTENTION_BACKEND unset then, FLASHINFER now" in line
    assert "secret" not in line
    assert "secret" not in json.dumps({k: v.decode("latin1") for k, v in content(out).items()})
