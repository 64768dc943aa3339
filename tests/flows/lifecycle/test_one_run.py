"""An output holds one run: of one configuration, the same models and prompts, and one input."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from replaced import REPLACED, copied, template_of, write_template

from flows import check as checking
from flows.status import lines, status
from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from schemas.export import ExportOptions
from schemas.rollouts import RolloutOptions
from tasks.calibration.recommendation import Wish
from tasks.configuration.parsing import dump_config
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import UserError
from tasks.export.rollouts import request as rolling
from tasks.generation.completion import open_run
from tasks.models import chat, rendering
from tasks.output.config_file import load_config
from tasks.output.directory import RunDirectory
from tasks.planning.plan import make_plan
from tasks.report import write_report
from tasks.storage.sealed import seal, unseal
from tasks.storage.store import Store
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

Generate = Callable[[Config], dict[str, Any]]
Job = Callable[..., Config]
Whole = Callable[[], pl.DataFrame]
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
        usual, records = ScriptedEngine.ask, Path(config.output.path) / "shards"

        async def until_one_is_done(self: ScriptedEngine, asks: Any) -> Any:
            if records.exists() and list(records.iterdir()):
                raise UserError("that is enough")
            return await usual(self, asks)

        with monkeypatch.context() as patch:
            patch.setattr(ScriptedEngine, "ask", until_one_is_done)
            assert "that is enough" in mistake(lambda: generate(config))

    return run


ORIGINALS: dict[str, Path] = {}
"""State to a run of `job()` in it, which tests copy: where an output lies is no part of its run."""


@pytest.fixture
def begun(
    begin: Callable[..., None], job: Job, out: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], None]:
    """Have a run of `job()` in some state at `out`."""

    def copy(state: str) -> None:
        if state not in ORIGINALS:
            place = tmp_path_factory.mktemp(state) / "out"
            begin(job(output=str(place)), state)
            ORIGINALS[state] = place
        shutil.copytree(ORIGINALS[state], out)

    return copy


@pytest.fixture
def whole(begin: Callable[..., None], job: Job, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a run of `job()` comes to that nothing befell."""

    def read() -> pl.DataFrame:
        if "complete" not in ORIGINALS:
            place = tmp_path_factory.mktemp("complete") / "out"
            begin(job(output=str(place)), "complete")
            ORIGINALS["complete"] = place
        return solved(ORIGINALS["complete"])

    return read


def go_on(config: Config) -> Any:
    """What `generate` does before it starts engines."""
    output = RunDirectory(Store(config.output.path))
    output.check_same(config)
    return open_run(make_plan(output.dated(config)), output, retry_failed=False)


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


def export(out: Path, dest: Path) -> Any:
    from flows.export import export

    return export("prm", [str(out)], str(dest), ExportOptions(unscored="drop"), Stores())


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
    values["run"] |= {"cohort_size": 3, "store_patience": 9.0}
    values["output"]["path"] = "/elsewhere"
    values["models"]["draft"]["engine"]["seconds"] = 0.0
    (out / "config.yaml").write_text(yaml.safe_dump(values))
    generate(job("run.cohort_size=5"))
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


# --- the day


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have it be another day of January 2026."""
    places = (
        "models.chat",
        "planning.plan",
        "output.directory",
        "evaluation.cell_runs",
        "calibration.directory",
        "export.runs",
    )

    def be(number: int) -> None:
        for place in places:
            monkeypatch.setattr(f"tasks.{place}.today", lambda: datetime.date(2026, 1, number))

    return be


def dated(folder: Path, *roles: str, template: str = DATED) -> list[str]:
    changes = copied(folder)
    for role in roles:
        write_template(folder / role, template + template_of(folder / role))
    return changes


@pytest.mark.parametrize(
    ("roles", "template"),
    [
        (("draft", "target", "prm"), DATED),
        (("prm",), DATED),
        (("draft",), "{{ strftime_now('%H:%M:%S %f %s %j') }}"),
        (("draft",), "{{ [1, 2, 3] | random }}"),
    ],
)
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


TAKES_UP = """
import datetime, sys
from tasks.models import chat, rendering
from tasks.generation.completion import open_run
from tasks.output.config_file import load_config
from tasks.planning.plan import make_plan
from tasks.output.directory import RunDirectory
from tasks.storage.store import Store

class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(float(sys.argv[2]), tz)

chat.datetime = Then
config = load_config(sys.argv[1], [])
output = RunDirectory(Store(config.output.path))
plan = make_plan(output.dated(config))
identity = open_run(plan, output, False).identity
print(identity.run_id, plan.day, datetime.datetime.fromtimestamp(float(sys.argv[2])).date())
"""
"""Takes up a run at some time, in whatever zone it is started in."""


def test_processes_in_other_zones_and_on_other_days_have_one_date(job: Job, tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    config.write_text(dump_config(job(*dated(tmp_path / "models", "draft", "target"))))
    late = datetime.datetime(2026, 1, 5, 23, 30, tzinfo=datetime.UTC).timestamp()
    told = [
        subprocess.run(
            [sys.executable, "-c", TAKES_UP, str(config), str(at)],
            env=os.environ | {"TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for zone, at in [("Pacific/Kiritimati", late), ("Pacific/Pago_Pago", late), ("Asia/Tokyo", late + 86_400)]
    ]
    assert [local for _, _, local in told] == ["2026-01-06", "2026-01-05", "2026-01-07"]
    assert {day for _, day, _ in told} == {"2026-01-05"}
    assert len({run_id for run_id, _, _ in told}) == 1


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
    assert checking.check(job(output=str(tmp_path / "plain")))["day"] is None
    day(6)
    generate(job(*changes, "prompt.date=2026-01-05"))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_day_is_that_of_utc_in_every_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    before = rendering.now(datetime.date(2026, 3, 1), "%d %H %s"), chat.today()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert (rendering.now(datetime.date(2026, 3, 1), "%d %H %s"), chat.today()) == before
    finally:
        monkeypatch.undo()
        time.tzset()


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


# --- outputs of a release that kept nothing of this


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


# --- other commands


def test_a_flow_run_of_a_fleet_has_the_same_models_and_day(
    begun: Callable[[str], None],
    begin: Callable[..., None],
    whole: Whole,
    job: Job,
    out: Path,
    tmp_path: Path,
    day: Callable[[int], None],
) -> None:
    from flows.shards import generate_shards

    begun("stopped")
    config = job(*copied(tmp_path / "models", "target"))
    REPLACED["weights"][0](tmp_path / "models" / "target")
    before = list((out / "shards").iterdir())
    told = mistake(lambda: asyncio.run(generate_shards(config, 1, 1)))
    assert "models.target: other weights" in told
    assert list((out / "shards").iterdir()) == before

    dated_job = job(*dated(tmp_path / "dated", "draft"), output=str(tmp_path / "days"))
    day(5)
    begin(dated_job, "stopped")
    day(6)
    assert asyncio.run(generate_shards(dated_job, 1, 1)) > 0
    of_day = json.loads((tmp_path / "days" / "shards" / "00001.json").read_text())["identity"]["models"]["draft"][
        "date"
    ]
    assert of_day == "2026-01-05"


def test_an_evaluation_is_of_one_day_and_of_the_same_models(
    prefect: str, job: Job, mixed: str, tmp_path: Path, day: Callable[[int], None]
) -> None:
    from flows.evaluate import evaluate

    values = job(*dated(tmp_path / "models", "draft", "target")).model_dump(mode="json")
    given = {
        "benchmarks": [{"name": "mixed", "path": mixed, "limit": 20}],
        "methods": [{"method": "draft"}],
        "output": {"path": str(tmp_path / "evaluation")},
        "decoding": {"max_tokens": 60, "max_steps": 3},
        "run": values["run"],
        "models": values["models"],
    }
    day(5)
    asyncio.run(evaluate(EvaluationConfig.model_validate(given)))
    day(6)
    given["methods"] = [{"method": "draft"}, {"method": "target"}]
    asyncio.run(evaluate(EvaluationConfig.model_validate(given)))
    configs = [yaml.safe_load(path.read_text()) for path in (tmp_path / "evaluation" / "runs").rglob("config.yaml")]
    assert [config["prompt"]["date"] for config in configs] == ["2026-01-05"] * 2
    REPLACED["weights"][0](tmp_path / "models" / "draft")
    told = mistake(lambda: asyncio.run(evaluate(EvaluationConfig.model_validate(given))))
    assert "models.draft: other weights" in told


def test_a_calibration_is_of_one_day_and_takes_nothing_from_other_models(
    generate: Generate, job: Job, out: Path, tmp_path: Path, day: Callable[[int], None]
) -> None:
    from flows.calibrate import calibrate

    def report(place: str, *thresholds: float) -> dict[str, Any]:
        return asyncio.run(calibrate(config, str(tmp_path / place), Wish("target_share", 0.5), list(thresholds), 30))

    config = job(*dated(tmp_path / "models", "draft"), "input.limit=30")
    day(5)
    generate(config)
    day(6)
    assert report("first", 0.3)["tokens"]["reused_attempts"] > 0, "the run at the output is of the day before"
    day(7)
    assert report("first", 0.3, 0.8)["tokens"]["reused_attempts"] > 0
    for path in (tmp_path / "first" / "runs").rglob("config.yaml"):
        assert yaml.safe_load(path.read_text())["prompt"]["date"] == "2026-01-05"
    REPLACED["weights"][0](tmp_path / "models" / "target")
    assert report("second", 0.3)["tokens"]["reused_attempts"] == 0
    assert "models.target: other weights" in mistake(lambda: report("first", 0.3))


@pytest.mark.parametrize("change", ["weights", "chat template", "end of text"])
def test_rollouts_go_on_with_what_wrote_the_solutions(
    begun: Callable[[str], None], job: Job, out: Path, tmp_path: Path, change: str
) -> None:
    begun("complete")
    copied(tmp_path / "models", "target")
    kept = (out / "config.yaml").read_text()
    values = yaml.safe_load(kept)
    values["models"]["target"]["model"] = str(tmp_path / "models" / "target")
    (out / "config.yaml").write_text(yaml.safe_dump(values))

    def choose(place: str, *changes: str) -> Any:
        options = RolloutOptions(samples=2, share=0.5)
        return rolling.choose_steps(rolling.read_request(str(out), str(tmp_path / place), options, list(changes)))

    choose("first")
    REPLACED[change][0](tmp_path / "models" / "target")
    told = mistake(lambda: choose("second"))
    assert "models.target" in told
    assert not (tmp_path / "second").exists()
    shutil.copytree(tmp_path / "models", tmp_path / "named")
    (out / "config.yaml").write_text(kept)
    choose("third", f"models.target.model={tmp_path / 'named' / 'target'}")
