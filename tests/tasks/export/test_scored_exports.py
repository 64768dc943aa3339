"""Exports that ask the runs' PRMs for the rewards that the runs lack."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from replaced import REPLACED
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from export.made import attempt, draft, redone, solved, write_run
from flows.terminal.interruption import SIGNALS
from schemas.config import Config
from tasks.decoding.requests import ScoreRequest
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import StoreError, UserError
from tasks.storage.store import Store

Command = Callable[..., Said]
Write = Callable[..., str]
PLACE = ["problem_id", "sample", "step", "attempt"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ScoreRequest]:
    """What is asked of scripted PRMs from now on."""
    found: list[ScoreRequest] = []
    usual = ScriptedEngine.ask

    async def noted(self: ScriptedEngine, looks: Sequence[Any], answered: Any) -> Any:
        found.extend(look for look in looks if isinstance(look, ScoreRequest))
        return await usual(self, looks)

    monkeypatch.setattr(ScriptedEngine, "ask", noted)
    return found


@pytest.fixture
def write(tmp_path: Path, configured: Callable[..., Config]) -> Write:
    """A run with these solutions, whose models are scripted; `prm`: changes of its PRM."""

    def run(name: str, *shards: list[Any], prm: dict[str, Any] | None = None, **changes: Any) -> str:
        models = configured().models.model_dump(mode="json", exclude_defaults=True)
        models["prm"] |= prm or {}
        return write_run(tmp_path / name, shards, **{"models": models, "run": len(name)} | changes)

    return run


def rewritten(*names: str, **others: Any) -> list[Any]:
    """Solutions with a step that was kept and one that was written again."""
    return [solved(n, draft(f"First {n}.\n\n"), redone(f"So {n}.", f"No {n}."), **others) for n in names]


def rows(dest: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(dest / "data" / "*.parquet").sort("problem_id", "sample", "step").to_dicts()


@pytest.mark.parametrize("changes", [[], ["models.prm={same_as: target, format: judge}", "decoding.writer=target"]])
def test_they_are_those_that_the_run_would_have_asked_for(
    stepwave: Command,  # noqa: F811
    job: Callable[..., Config],
    generate: Any,
    out: Path,
    tmp_path: Path,
    asked: list[ScoreRequest],
    changes: list[str],
) -> None:
    changes = ["decoding.method=best_of_n", *changes]
    manifest = generate(job("input.limit=30", *changes))
    code, _, _ = stepwave("export", "prm", str(out), f"{tmp_path}/whole", "--splits", "none")
    assert code == 0
    in_the_run = len(asked)
    steps = pl.read_parquet(out / "steps" / "*.parquet")
    assert steps["reward"].null_count() == 0

    def forget(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"reward": None if (row["step"] + row["sample"]) % 3 else row["reward"]}

    shards = []
    for number in range(manifest["shards"]):
        solutions = pl.read_parquet(out / f"solutions/{number:05d}.parquet").to_dicts()
        some = [forget(row) for row in pl.read_parquet(out / f"steps/{number:05d}.parquet").to_dicts()]
        shards.append([(row, [s for s in some if all(s[k] == row[k] for k in PLACE[:2])]) for row in solutions])
    config = job(*changes).model_dump(mode="json", exclude={"output", "run"})
    lacking = write_run(tmp_path / "lacking", shards, **config)
    asked.clear()
    code, said, _ = stepwave("export", "prm", lacking, f"{tmp_path}/data", "--splits", "none", "--json")
    assert code == 0
    assert 0 < len(asked) < in_the_run
    assert json.loads(said)["runs"][0]["scored"] == {"asked": len(asked), "known": 0, "none": 0}
    of = [name for name in rows(tmp_path / "whole")[0] if name != "run_id"]
    whole, later = ([{n: row[n] for n in of} for row in rows(tmp_path / name)] for name in ("whole", "data"))
    assert later == whole


def test_only_the_steps_that_pairs_need_are_asked_for_and_only_once(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    cut = rewritten("cut", status="max_tokens")
    same = [solved("same", redone("So.", "So."))]
    run = write("run", rewritten("p0", "p1"), cut + same)
    words = ["export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none", "--margin", "-1"]
    code, said, _ = stepwave(*words, "--status", "finished", "--json")
    assert code == 0
    assert len(asked) == 2
    assert json.loads(said)["runs"][0]["scored"] == {"asked": 2, "known": 0, "none": 0}
    pairs = rows(tmp_path / "pairs")
    assert [row["problem_id"] for row in pairs] == ["p0", "p1"]
    assert all(0 <= row["chosen_reward"] <= 1 for row in pairs)
    assert "PRM was shown 2 accepted steps after the run" in (tmp_path / "pairs" / "README.md").read_text()

    code, said, told = stepwave(*words)
    assert code == 0
    assert len(asked) == 3, "of the solution that was left out before"
    assert "1 steps asked now, 2 known from an earlier export" in said
    assert "starting the prm engine" in told
    kept = {row["problem_id"]: row["chosen_reward"] for row in rows(tmp_path / "pairs")}
    assert kept == {"cut": kept["cut"]} | {row["problem_id"]: row["chosen_reward"] for row in pairs}

    code, said, told = stepwave(*words)
    assert (code, len(asked)) == (0, 3)
    assert "starting" not in told
    assert stepwave("export", "prm", run, f"{tmp_path}/prm")[0] == 0
    assert len(asked) == 4, "the step that is the draft's word for word made no pair"


def test_in_a_bucket_they_are_kept_as_well(
    stepwave: Command,  # noqa: F811
    configured: Callable[..., Config],
    s3: str,
    asked: list[ScoreRequest],
) -> None:
    models = configured().models.model_dump(mode="json", exclude_defaults=True)
    run = write_run(f"{s3}/run", [rewritten("p0", "p1"), rewritten("p2")], models=models)
    words = ["export", "step-dpo", run, f"{s3}/pairs", "--splits", "none", "--margin", "-1", "--json"]
    for known in (0, 3):
        code, said, _ = stepwave(*words)
        assert code == 0
        assert json.loads(said)["runs"][0]["scored"] == {"asked": 3 - known, "known": known, "none": 0}
    assert len(asked) == 3
    assert Store(run).keys("rewards") == ["rewards/00000.parquet", "rewards/00001.parquet"]


def test_of_repeated_pairs_one_is_asked_for(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    same = [solved("p0", redone("So.", "No."), sample=n) for n in (2, 0, 1)]
    other = [
        solved("p0", redone("So.", "Not."), sample=3),
        solved("p0", draft("First.\n\n"), redone("So.", "No."), sample=4),
    ]
    run = write("run", [*same, *other, *rewritten("p1")])
    words = ["export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none", "--margin", "-1"]
    assert stepwave(*words)[0] == 0
    found = rows(tmp_path / "pairs")
    assert [(row["problem_id"], row["sample"]) for row in found] == [("p0", 0), ("p0", 3), ("p0", 4), ("p1", 0)]
    assert None not in {row["chosen_reward"] for row in found}
    assert len(asked) == 4


def test_margins_and_what_stays_without_a_reward(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    far = [solved("far", [attempt("draft", "w " * 900, 0.9)], redone("So.", "No."))]
    bad = [solved("bad", redone("It is UNSPEAKABLE.", "No.", 0.0))]
    good = [solved(f"p{n}", redone(f"So {n}.", f"No {n}.", 0.3)) for n in range(20)]
    engine = {"engine": {"kind": "scripted", "max_model_len": 512, "refuse": "UNSPEAKABLE"}}
    run = write("run", [*far, *bad, *good], prm=engine)

    def pairs(*options: str) -> dict[str, float | None]:
        code, said, _ = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none", *options)
        assert code == 0, said
        return {row["problem_id"]: row["chosen_reward"] for row in rows(tmp_path / "pairs")}

    every = pairs("--margin", "-1")
    assert len(every) == 22
    assert [name for name, reward in every.items() if reward is None] == ["bad", "far"]
    wide = {name for name, reward in every.items() if reward is None or reward - 0.3 >= 0.1}
    assert pairs().keys() == wide
    assert 2 < len(wide) < 22
    assert len(asked) == 21, "what had no reward is not asked again, and what is beyond the window never"
    known = {name: reward for name, reward in pairs().items() if reward is not None}
    assert pairs("--unscored", "keep") == pairs()
    assert pairs("--unscored", "drop") == known
    assert "PRM was shown 22 accepted steps after the run" in (tmp_path / "pairs" / "README.md").read_text()
    shutil.rmtree(Path(run) / "rewards")
    dropped = stepwave("export", "step-dpo", run, f"{tmp_path}/none", "--unscored", "drop")
    is_mistake(dropped, "the chosen step has no reward: 22")
    assert set(pairs("--unscored", "keep").values()) == {None}
    assert len(asked) == 21


def test_an_export_that_was_stopped_goes_on(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run = write("run", rewritten("p0", "p1"), rewritten("STOP", "p3"), rewritten("p4"))
    usual = ScriptedEngine.ask
    closed: list[ScriptedEngine] = []

    async def stops(self: ScriptedEngine, looks: Sequence[ScoreRequest], answered: Any) -> Any:
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return await usual(self, looks)

    async def close(self: ScriptedEngine) -> None:
        closed.append(self)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", stops)
        patch.setattr(ScriptedEngine, "close", close)
        code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs")
    assert (code, said) == (130, "")
    assert f"interrupted; to go on: stepwave export step-dpo {run} {tmp_path}/pairs" in told
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}, "another one changes nothing any more"
    assert len(closed) == 1, "its engine is gone"
    assert list(scratch.iterdir()) == list((tmp_path / "pairs").iterdir()) == []
    assert [path.name for path in (Path(run) / "rewards").iterdir()] == ["00000.parquet"]
    asked.clear()
    assert stepwave("export", "step-dpo", run, f"{tmp_path}/pairs")[0] == 0
    assert len(asked) == 3
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("change", REPLACED)
def test_what_was_kept_holds_for_these_steps_and_this_prm(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    models: Path,
    change: str,
) -> None:
    replace_it, _ = REPLACED[change]
    bare = [solved("p0", [attempt("target", "One.\n\n", None)], [attempt("target", "Two.", None)])]
    run = write("bare", bare, decoding={"method": "target"})

    def asks(*options: str) -> int:
        asked.clear()
        assert stepwave("export", "prm", run, f"{tmp_path}/prm", "--splits", "none", *options)[0] == 0
        return len(asked)

    assert asks() == 2
    assert asks() == 0
    other = tmp_path / "other"
    shutil.copytree(models / "prm", other)
    assert asks("--set", f"models.prm.model={other}") == 0, "the same model elsewhere"
    replace_it(other)
    assert asks("--set", f"models.prm.model={other}") == 2
    assert "| target |  | `target` | `other` (qwen) |" in (tmp_path / "prm" / "README.md").read_text()
    assert asks("--set", f"models.prm.model={other}") == 0
    assert asks() == 2
    file = Path(run) / "rewards" / "00000.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    assert asks() == 2, "a file that was cut is none"
    again = [solved("p0", [attempt("target", "Another.\n\n", None)], [attempt("target", "Two.", None)])]
    run = write("bare", again, decoding={"method": "target"})
    assert asks() == 2, "of steps that were made anew"


def test_an_output_that_cannot_be_written(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = write("run", rewritten("p0"), rewritten("p1"))
    write_file = Store.write

    def read_only(self: Store, key: str, data: bytes) -> Any:
        if self.root == run:
            raise UserError(f"{self.path(key)}: Read-only file system")
        return write_file(self, key, data)

    monkeypatch.setattr(Store, "write", read_only)
    for _ in range(2):
        asked.clear()
        code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--margin", "-1")
        assert code == 0
        assert len(asked) == 2
        assert "2 steps asked now; not kept" in said
        assert told.count("asks for these rewards again") == 1
        assert str(tmp_path) not in (tmp_path / "pairs" / "export.json").read_text()


def test_an_outage_costs_the_rewards_of_its_shard(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = write("run", rewritten("p0"), rewritten("p1"))
    write_file = Store.write

    def away(self: Store, key: str, data: bytes) -> Any:
        if key == "rewards/00000.parquet":
            raise StoreError(f"{self.path(key)}: does not answer")
        return write_file(self, key, data)

    monkeypatch.setattr(Store, "write", away)
    code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--margin", "-1")
    assert code == 0
    assert "not kept" not in said
    assert told.count("asks for this shard's rewards again") == 1
    assert [path.name for path in (Path(run) / "rewards").iterdir()] == ["00001.parquet"]


def test_runs_with_one_prm_are_asked_on_one_engine(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    models: Path,
) -> None:
    other = tmp_path / "other"
    shutil.copytree(models / "prm", other)
    runs = [
        write("a", rewritten("p0")),
        write("bb", rewritten("p1"), prompt={"system": "Otherwise."}),
        write("ccc", rewritten("p2"), prm={"model": str(other)}),
        write("dddd", rewritten("p3")),
    ]
    runs = [runs[0], runs[2], runs[1], runs[3]]
    options = ["--splits", "none", "--margin", "-1", "--set", "run.engine_restarts=1"]
    code, _, told = stepwave("export", "step-dpo", *runs, f"{tmp_path}/pairs", *options)
    assert code == 0
    assert told.count("starting the prm engine") == 2
    assert len(rows(tmp_path / "pairs")) == 4


def test_runs_without_rewards_have_labels_where_there_is_a_prm(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    configured: Callable[..., Config],
    models: Path,
) -> None:
    bare = [solved("p0", [attempt("target", "One.\n\n", None)], [attempt("target", "Two.", None)])]
    run = write("run", bare, decoding={"method": "target"})
    assert stepwave("export", "prm", run, f"{tmp_path}/prm", "--splits", "none")[0] == 0
    [row] = rows(tmp_path / "prm")
    assert row["completions"] == ["One.", "Two."]
    assert row["labels"] == [reward >= 0.5 for reward in row["rewards"]]
    known = ["export", "prm", run, f"{tmp_path}/known", "--splits", "none", "--unscored", "drop"]
    assert "2 steps known from an earlier export" in stepwave(*known)[1]
    assert rows(tmp_path / "known") == [row]
    shutil.rmtree(Path(run) / "rewards")
    is_mistake(stepwave("export", "prm", run, f"{tmp_path}/no", "--unscored", "drop"), "method target has no rewards")

    alone = {"target": configured().models.model_dump(mode="json", exclude_defaults=True)["target"]}
    none = write("none", bare, decoding={"method": "target"}, models=alone)
    is_mistake(stepwave("export", "prm", none, f"{tmp_path}/no"), "--set models.prm.model", "--labels answer")
    given = ["--set", f"models.prm.model={models / 'prm'}", "--set", "models.prm.engine.kind=scripted"]
    assert stepwave("export", "prm", none, f"{tmp_path}/given", "--splits", "none", *given)[0] == 0
    assert rows(tmp_path / "given")[0]["rewards"] == row["rewards"]


def test_a_writers_confidence_cannot_be_asked_for_later(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    configured: Callable[..., Config],
) -> None:
    own = configured().models.model_dump(mode="json", exclude_defaults=True) | {"prm": {"format": "confidence"}}
    run = write("run", rewritten("p0"), models=own)
    code, said, _ = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none")
    assert code == 0
    assert "1 steps stay without a reward: rewards are the writers' own confidence" in said
    assert "none: the writer's own confidence (mean)" in (tmp_path / "pairs" / "README.md").read_text()
    assert [row["chosen_reward"] for row in rows(tmp_path / "pairs")] == [None]
    other = ["--set", "models.prm={format: qwen, model: x}"]
    is_mistake(stepwave("export", "step-dpo", run, f"{tmp_path}/no", *other), "--set models.prm:", "models.prm.*")


def test_mistakes_are_told_in_a_line(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
) -> None:
    run = write("run", rewritten("p0"))
    none = f"{tmp_path}/none"

    def refused(*told: str, kind: str = "step-dpo", set: str | None = None, options: Sequence[str] = ()) -> None:
        words = [] if set is None else ["--set", set]
        is_mistake(stepwave("export", kind, run, f"{tmp_path}/no", *words, *options), *told)

    refused("another PRM", "models.prm.format", set="models.prm.format=outcome")
    refused("only storage.*, models.prm.*", "and run.*", set="decoding.samples=2")
    refused("--set models.target.model: no run's PRM is its target", set="models.target.model=x")
    refused(
        "--set run.sharing", "run.engine_restarts, run.engine_patience, run.batch_invariant", set="run.sharing=turns"
    )
    refused("--set run.batch_invariant", "asks no PRM", kind="sft", set="run.batch_invariant=true")
    keep = ["--unscored", "keep"]
    refused("--set run.batch_invariant", "asks no PRM", options=keep, set="run.batch_invariant=true")
    refused("--unscored", "not for --labels answer", kind="prm", options=["--labels", "answer", "--unscored", "drop"])
    refused("--unscored keep is for step-dpo", kind="prm", options=["--unscored", "keep"])
    refused("--unscored is for step-dpo and prm", kind="dpo", options=["--unscored", "drop"])
    refused("run.engine_restarts", set="run.engine_restarts=-1")
    gone = write("gone", rewritten("p0"), prm={"model": none})
    is_mistake(stepwave("export", "step-dpo", gone, f"{tmp_path}/no"), gone, none, "--unscored keep")
    is_mistake(stepwave("export", "prm", gone, f"{tmp_path}/no"), gone, none, "--unscored drop")
    bare = [solved("p0", [attempt("target", "One.", None)])]
    gone = write("bare", bare, prm={"model": none}, decoding={"method": "target"})
    is_mistake(stepwave("export", "prm", gone, f"{tmp_path}/no"), gone, none, "--labels answer")


def test_mistakes_of_a_later_run_are_told_before_the_first_is_scored(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    none = {"model": f"{tmp_path}/none"}
    runs = [write("a", rewritten("p0")), write("gone", rewritten("p1"), prm=none)]
    said = stepwave("export", "step-dpo", *runs, f"{tmp_path}/no")
    is_mistake(said, runs[1], none["model"])
    assert not asked
    assert not (Path(runs[0]) / "rewards").exists()
    whole = write("whole", [solved("p2", draft("All is known."))], prm=none)
    code, _, told = stepwave("export", "prm", runs[0], whole, f"{tmp_path}/prm")
    assert code == 0, told


def fault(name: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    changed = {"range": 7.0, "nan": float("nan")}
    if name in changed:
        return lambda kept: kept.with_columns(reward=pl.lit(changed[name], pl.Float32))
    return lambda kept: pl.concat([kept, kept])


@pytest.mark.parametrize("how", ["range", "nan", "twice", "bits", "folder"])
def test_kept_rewards_that_are_damaged_are_none(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    how: str,
) -> None:
    run = write("run", rewritten(*(f"p{n}" for n in range(30))))
    words = ["export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none", "--margin", "-1"]
    assert stepwave(*words)[0] == 0
    right = rows(tmp_path / "pairs")
    file = Path(run) / "rewards" / "00000.parquet"
    if how == "folder":
        shutil.rmtree(file.parent)
        file.parent.write_text("a file")
    elif how == "bits":
        with pq.ParquetFile(file) as whole:
            chunk = whole.metadata.row_group(0).column(4)
        content = bytearray(file.read_bytes())
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start + chunk.total_compressed_size // 2] ^= 1
        file.write_bytes(content)
    else:
        kept = pq.read_table(file)
        changed = fault(how)(pl.DataFrame(kept)).to_arrow().cast(kept.schema)
        pq.write_table(changed.replace_schema_metadata(kept.schema.metadata), file)
    assert len(asked) == 30
    assert stepwave(*words, "--unscored", "keep")[0] == 0
    assert {row["chosen_reward"] for row in rows(tmp_path / "pairs")} == {None}
    code, _, told = stepwave(*words)
    assert (code, len(asked)) == (0, 60)
    assert ("asks for these rewards again" in told) == (how == "folder")
    assert rows(tmp_path / "pairs") == right


def test_a_prm_that_has_moved(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    models: Path,
    configured: Callable[..., Config],
) -> None:
    old, new = str(tmp_path / "of-old"), str(tmp_path / "moved")
    shutil.copytree(models / "prm", new)
    run = write("run", rewritten("p0"), prm={"model": old})
    words = ["--splits", "none", "--margin", "-1", "--set", f"models.prm.model={new}"]
    served = ["models.prm.engine.max_model_len=256", "models.prm.params=7.0e+6"]
    code, _, told = stepwave(
        "export", "step-dpo", run, f"{tmp_path}/pairs", *words, *(part for one in served for part in ("--set", one))
    )
    assert (code, len(asked)) == (0, 1), told
    assert f"its rewards are from {old}; {new} is taken for the same model in another place" in told
    assert "recorded are from `of-old`, these from `moved`" in (tmp_path / "pairs" / "README.md").read_text()

    same = configured().models.model_dump(mode="json", exclude_defaults=True)
    same["prm"] = {"same_as": "target", "format": "judge"}
    same["target"]["model"] = old
    shutil.copytree(models / "target", moved := tmp_path / "writer")
    hosted = write("hosted", rewritten("p0"), models=same)
    words[-1] = f"models.target.model={moved}"
    code, _, told = stepwave("export", "step-dpo", hosted, f"{tmp_path}/hosted-pairs", *words)
    assert (code, len(asked)) == (0, 2), told
    words[-1] = f"models.prm.model={models / 'draft'}"
    other = ["--set", "models.prm.same_as=null"]
    is_mistake(stepwave("export", "step-dpo", hosted, f"{tmp_path}/no", *words, *other), "models.prm.same_as")


def test_what_is_set_concerns_the_runs_that_have_a_prm(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    configured: Callable[..., Config],
) -> None:
    bare = [solved("p0", [attempt("target", "One.", None)])]
    alone = {"target": configured().models.model_dump(mode="json", exclude_defaults=True)["target"]}
    runs = [write("none", bare, decoding={"method": "target"}, models=alone), write("a", rewritten("p1"))]
    options = ["--splits", "none", "--set", "models.prm.engine.max_model_len=256"]
    code, said, _ = stepwave("export", "prm", *runs, f"{tmp_path}/prm", *options)
    assert code == 0
    assert "method target has no rewards, and the configuration names no PRM" in said
    assert {row["problem_id"] for row in rows(tmp_path / "prm")} == {"p1"}


def test_an_engine_that_does_not_come_back_ends_the_export(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    crash = {"engine": {"kind": "scripted", "crash": "First"}}
    run = write("run", rewritten("p0"), prm=crash)
    code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/no", "--set", "run.engine_restarts=0")
    assert (code, said) == (1, "")
    assert "the prm engine died" in told
    assert f"to go on: stepwave export step-dpo {run}" in told


def test_a_step_that_the_prm_gives_no_reward_for_makes_no_pair_and_has_no_label(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    """Nor when what was asked is taken from an earlier export."""
    run = write("run", rewritten("p0", "p1", "p2"), prm={"engine": {"kind": "scripted", "nan": "So p1."}})
    words = ["export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none", "--margin", "-1", "--json"]
    for options in ([], [], ["--unscored", "keep"]):
        code, said, _ = stepwave(*words, *options)
        assert code == 0
        assert [row["problem_id"] for row in rows(tmp_path / "pairs")] == ["p0", "p2"]
        assert all(0 <= row["chosen_reward"] <= 1 for row in rows(tmp_path / "pairs"))
        report = json.loads(said)
        assert report["left_out"]["the PRM gave a figure for the chosen step that is no reward"] == 1
        assert report["runs"][0]["scored"]["none"] == 1
    assert len(asked) == 3
    code, said, _ = stepwave("export", "prm", run, f"{tmp_path}/prm", "--splits", "none")
    assert code == 0
    assert "it gave no number from 0 to 1" in said
    labelled = {row["problem_id"]: row["completions"] for row in rows(tmp_path / "prm") if row["attempt"] == 1}
    assert labelled == {name: [f"First {name}.", f"So {name}."] for name in ("p0", "p2")}
    # files of an older release lack the column that tells it apart
    for path in (Path(run) / "rewards").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["no_reward"]), path, write_page_checksum=True)
    code, _, _ = stepwave(*words)
    assert (code, len(asked)) == (0, 3)
    pairs = {row["problem_id"]: row["chosen_reward"] for row in rows(tmp_path / "pairs")}
    assert [name for name, reward in pairs.items() if reward is None] == ["p1"]
