"""An output holds one run: of one configuration, the same models and prompts, and one input."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from replaced import DEMO, REPLACED, copied, template_of, write_template

from flows import check as checking
from flows.status import lines, status
from schemas.config import Config, StorageConfig
from schemas.export import ExportOptions
from schemas.rollouts import RolloutOptions
from tasks import chat
from tasks.config_file import load_config
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import UserError
from tasks.report import write_report
from tasks.rollouts import work as rolling
from tasks.run_directory import RunDirectory, seal, unseal
from tasks.store import Store

Generate = Callable[[Config], dict[str, Any]]
Job = Callable[..., Config]
DATED = "{{ strftime_now('%d %b %Y') }} "


def mistake(act: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def solved(out: Path) -> pl.DataFrame:
    columns = ["run_id", "problem_id", "sample", "solution"]
    return pl.read_parquet(out / "solutions" / "*.parquet", columns=columns).sort(columns)


@pytest.fixture
def begin(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> Callable[[Config, str], None]:
    """Take a run so far: "stopped" with some shards committed and others checkpointed, or "complete"."""

    def run(config: Config, state: str) -> None:
        if state == "complete":
            generate(config)
            return
        write, records = ScriptedEngine.write, Path(config.output.path) / "shards"

        async def until_one_is_done(self: ScriptedEngine, asks: Any) -> Any:
            if records.exists() and list(records.iterdir()):
                raise UserError("that is enough")
            return await write(self, asks)

        with monkeypatch.context() as patch:
            patch.setattr(ScriptedEngine, "write", until_one_is_done)
            assert "that is enough" in mistake(lambda: generate(config))

    return run


def is_refused(out: Path, told: str, *acts: Callable[[], Any]) -> None:
    """Each says why, and leaves the output as it was."""
    before = content(out)
    for act in acts:
        message = mistake(act)
        assert told in message
        assert str(out) in message
    assert content(out) == before


STATES = pytest.mark.parametrize("state", ["stopped", "complete"])
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
    begin: Callable[..., None],
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    state: str,
    change: str,
    told: str,
) -> None:
    config = job()
    begin(config, state)
    edited = job(change)
    is_refused(out, told, lambda: generate(edited), lambda: checking.check(edited))
    there = yaml.safe_load((out / "config.yaml").read_text())
    changed = yaml.safe_load(edited.model_dump_json())
    (out / "config.yaml").write_text(
        yaml.safe_dump(there | {k: changed[k] for k in ("decoding", "prompt", "input", "models")})
    )
    rollouts = RolloutOptions(samples=2)
    is_refused(
        out,
        told,
        lambda: generate(edited),
        lambda: checking.check(edited),
        lambda: write_report(Store(str(out))),
        lambda: export(out, tmp_path / "data"),
        lambda: rolling.choose_steps(rolling.look(str(out), str(tmp_path / "rolled"), rollouts, [])),
    )
    assert told in (status(str(out), StorageConfig())["mixed"] or "")
    assert any("was changed since the run began" in line for line in lines(status(str(out), StorageConfig())))


def export(out: Path, dest: Path) -> Any:
    from flows.export import export

    return export("sft", [str(out)], str(dest), ExportOptions(), StorageConfig())


def test_what_decides_nothing_may_be_edited(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, tmp_path: Path
) -> None:
    begin(job(), "stopped")
    values = yaml.safe_load((out / "config.yaml").read_text())
    values["run"] |= {"cohort_size": 3, "store_patience": 9.0}
    values["output"]["path"] = "/elsewhere"
    values["models"]["draft"]["engine"]["seconds"] = 0.0
    (out / "config.yaml").write_text(yaml.safe_dump(values))
    generate(job("run.cohort_size=5"))
    generate(job(output=str(tmp_path / "at once")))
    assert solved(out).equals(solved(tmp_path / "at once"))


@STATES
@pytest.mark.parametrize("role", ["draft", "target", "prm"])
@pytest.mark.parametrize("change", REPLACED)
def test_a_model_that_was_replaced_is_named(
    begin: Callable[..., None],
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    state: str,
    role: str,
    change: str,
) -> None:
    config = job(*copied(tmp_path / "models"))
    begin(config, state)
    act, told = REPLACED[change]
    act(tmp_path / "models" / role)
    is_refused(out, f"models.{role}: ", lambda: generate(config), lambda: checking.check(config))
    assert told in mistake(lambda: generate(config))


@STATES
def test_a_model_that_was_moved_is_the_same(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    begin(job(*copied(tmp_path / "models")), state)
    shutil.move(tmp_path / "models", tmp_path / "moved")
    roles = ("draft", "target", "prm")
    manifest = generate(job(*(f"models.{role}.model={tmp_path / 'moved' / role}" for role in roles)))
    generate(job(output=str(tmp_path / "at once")))
    assert solved(out).equals(solved(tmp_path / "at once"))
    assert manifest["run_id"] == solved(tmp_path / "at once")["run_id"][0]


# --- the day


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have it be another day of January 2026."""
    return lambda n: (
        monkeypatch.setattr(chat, "today", lambda: datetime.date(2026, 1, n))
        or [
            monkeypatch.setattr(f"{where}.today", lambda: datetime.date(2026, 1, n))
            for where in ("tasks.plan", "tasks.run_directory")
        ]
    )


def dated(folder: Path, *roles: str, template: str = DATED) -> list[str]:
    changes = copied(folder)
    for role in roles:
        write_template(folder / role, template + template_of(folder / role))
    return changes


@pytest.mark.parametrize("roles", [("draft", "target", "prm"), ("draft",), ("prm",)])
@pytest.mark.parametrize("template", [DATED, "{{ strftime_now('%H:%M:%S %f %s %j') }}", "{{ [1, 2, 3] | random }}"])
def test_a_run_goes_on_on_the_day_on_which_it_began(
    begin: Callable[..., None],
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    day: Callable[[int], None],
    roles: tuple[str, ...],
    template: str,
) -> None:
    config = job(*dated(tmp_path / "models", *roles, template=template))
    day(5)
    generate(config.model_copy(update={"output": config.output.model_copy(update={"path": str(tmp_path / "at once")})}))
    begin(config, "stopped")
    assert yaml.safe_load((out / "config.yaml").read_text())["prompt"]["date"] == "2026-01-05"
    day(6)
    report = checking.check(config)
    asks = "strftime_now" in template
    assert report["day"] == ("2026-01-05" if asks else None)
    assert any("2026-01-05 for the whole run" in line for line in checking.lines(report)) == asks
    generate(config)
    assert solved(out).equals(solved(tmp_path / "at once"))


def test_another_day_makes_another_run_where_a_prompt_tells_it(
    generate: Generate, job: Job, out: Path, tmp_path: Path, day: Callable[[int], None]
) -> None:
    day(5)
    changes = dated(tmp_path / "models", "draft")
    generate(job(*changes))
    told = "prompt.date: 2026-01-05 there, 2026-02-01 here, which the chat template of draft writes"
    is_refused(out, told, lambda: generate(job(*changes, "prompt.date=2026-02-01")))
    generate(job(output=str(tmp_path / "plain")))
    generate(job("prompt.date=2026-02-01", output=str(tmp_path / "plain")))  # no prompt tells it
    assert checking.check(job())["day"] is None
    day(6)
    generate(job(*changes, "prompt.date=2026-01-05"))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_day_is_that_of_utc_in_every_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    before = chat.now(datetime.date(2026, 3, 1), "%d %H %s"), chat.today()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert (chat.now(datetime.date(2026, 3, 1), "%d %H %s"), chat.today()) == before
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_template_that_never_says_the_same_is_refused(job: Job, mixed: str, tmp_path: Path) -> None:
    changes = copied(tmp_path / "models")
    for template in ("{{ messages | string | length }}{% set x = namespace() %}", "{{ strftime_now }}"):
        write_template(tmp_path / "models" / "draft", template + template_of(tmp_path / "models" / "draft"))
        checking.check(job(*changes))  # odd, and the same each time


# --- files of other runs


def other_run(generate: Generate, job: Job, tmp_path: Path, *changes: str) -> Path:
    generate(job(*changes, output=str(tmp_path / "other")))
    return tmp_path / "other"


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
    begin: Callable[..., None],
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    problem_set: Callable[..., str],
    state: str,
    change: str,
    told: str,
) -> None:
    begin(job(), state)
    changes, paths = [change], {}
    if change == "model":
        changes = copied(tmp_path / "models")
        REPLACED["weights"][0](tmp_path / "models" / "target")
    if change == "input":
        changes, paths = [], {"input": problem_set({"problem": [f"What is {n}?" for n in range(60)]}, "others.parquet")}
    generate(job(*changes, output=str(tmp_path / "other"), **paths))
    last = max(path.name for path in (tmp_path / "other" / "shards").iterdir()).removesuffix(".json")
    for table in ("shards", "solutions", "steps", "rejected"):
        for path in (tmp_path / "other" / table).glob(f"{last}.*") if (tmp_path / "other" / table).exists() else ():
            (out / table).mkdir(exist_ok=True)
            shutil.copy(path, out / table / path.name)
    is_refused(
        out,
        f"shards/{last}.json",
        lambda: generate(job()),
        lambda: checking.check(job()),
        lambda: export(out, tmp_path / "d"),
    )
    assert told in mistake(lambda: generate(job()))
    (out / "shards" / f"{last}.json").unlink()
    generate(job())
    generate(job(output=str(tmp_path / "at once")))
    assert solved(out).equals(solved(tmp_path / "at once"))


def test_a_manifest_of_another_run_is_named(generate: Generate, job: Job, out: Path, tmp_path: Path) -> None:
    generate(job())
    shutil.copy(other_run(generate, job, tmp_path, "decoding.seed=3") / "manifest.json", out)
    is_refused(
        out,
        "manifest.json: is of another run than this output's (decoding.seed: 3 there, 0 here)",
        lambda: generate(job()),
    )


# --- outputs of a release that kept nothing of this


def made_old(out: Path, config: Config) -> None:
    """As that release left its files."""
    from tasks.identity import fingerprint_before, run_id

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


@STATES
def test_an_output_of_an_older_release_is_gone_on_with_and_read(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    config = job()
    begin(config, state)
    made_old(out, config)
    report = checking.check(config)
    assert any("older release" in line for line in checking.lines(report)) == (state == "stopped")
    export(out, tmp_path / "data")
    write_report(Store(str(out)))
    assert status(str(out), StorageConfig())["mixed"] is None
    manifest = generate(config)
    assert set(solved(out)["run_id"]) >= {manifest["run_id"]}
    records = RunDirectory(Store(str(out))).records().good.values()
    assert {record["run_id"] for record in records} == {manifest["run_id"]}


@STATES
def test_one_that_was_edited_is_refused(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, state: str
) -> None:
    config = job()
    begin(config, state)
    made_old(out, config)
    text = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(text.replace("temperature: 0.8", "temperature: 0.3"))
    is_refused(out, "an older release of Stepwave wrote it", lambda: generate(job("decoding.temperature=0.3")))


# --- moved, and without its configuration


@STATES
def test_an_output_that_was_moved_goes_on_where_it_lies(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    begin(job(), state)
    shutil.move(out, tmp_path / "moved")
    config = load_config(str(tmp_path / "moved" / "config.yaml"), [])
    assert config.output.path == str(tmp_path / "moved")
    generate(config)
    assert not out.exists()
    given = load_config(str(tmp_path / "moved" / "config.yaml"), [f"output.path={tmp_path / 'given'}"])
    assert given.output.path == str(tmp_path / "given")


@STATES
def test_one_without_its_configuration_is_named(
    begin: Callable[..., None], generate: Generate, job: Job, out: Path, tmp_path: Path, state: str
) -> None:
    begin(job(), state)
    (out / "config.yaml").unlink()
    told = "holds a run whose config.yaml is gone"
    is_refused(
        out,
        told,
        lambda: generate(job()),
        lambda: checking.check(job()),
        lambda: export(out, tmp_path / "data"),
        lambda: write_report(Store(str(out))),
    )
    assert told in (status(str(out), StorageConfig())["mixed"] or "")


def test_what_it_is_made_with_is_told_where_it_changed(
    begin: Callable[..., None], job: Job, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(job(), "stopped")
    assert checking.check(job())["words"] == []
    monkeypatch.setenv("VLLM_ATTENTION_BACKEND", "FLASHINFER")
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    [line] = checking.check(job())["words"]
    assert "VLLM_ATTENTION_BACKEND unset then, FLASHINFER now" in line
    assert "secret" not in line
    assert "secret" not in json.dumps({k: v.decode("latin1") for k, v in content(out).items()})


assert DEMO.exists() or os.environ
