"""Exports that ask the runs' PRMs for the rewards that the runs lack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from export.made import attempt, draft, redone, solved, write_run
from export.scored import rewritten, rows
from schemas.config import Config
from tasks.decoding.requests import ScoreRequest
from tasks.storage.store import Store

Command = Callable[..., Said]

Write = Callable[..., str]

PLACE = ["problem_id", "sample", "step", "attempt"]


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
