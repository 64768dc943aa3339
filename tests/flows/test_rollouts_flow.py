"""Roll-outs on scripted engines, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from half_right import grade_by_parity, parity
from invariants import check, read_tables
from polars.testing import assert_frame_equal
from test_command_line import Said, is_mistake, stepwave
from test_parameters import started

from flows import rollouts as flow_module
from schemas.config import Config
from tasks.export.rollouts import directory
from tasks.export.rollouts.record import read_record
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2

__all__ = ["stepwave"]

Command = Callable[..., Said]
OF = ["problem_id", "sample", "step", "attempt"]


@pytest.fixture
def source(
    problem_set: Callable[..., str],
    job: Callable[..., Config],
    generate: Any,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A run of problems that can be graded, but for some; about half of its solutions are right, and of roll-outs."""
    grade_by_parity(monkeypatch)
    problems = {
        "problem": [f"Milo has {n} spoons. Ivan has {n % 7} more. How many has Ivan?" for n in range(40)],
        "answer": [None if n % 5 == 0 else str(n % 2) for n in range(40)],
        "choices": [["7", "8", "1"] if n == 33 else None for n in range(40)],
        "level": list(range(40)),
    }
    generate(job("input.answers=text", input=problem_set(problems, "gradable.parquet")))
    return str(out)


def content(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(root.rglob("*")) if p.is_file()}


def worths(
    solutions: pl.DataFrame, steps: pl.DataFrame, chosen: pl.DataFrame, rolled: pl.DataFrame
) -> dict[tuple[str, ...], float]:
    """A problem's id and the texts of its first steps to the share of ways on from there that are right, where it is
    known: from roll-outs, or because a solution ends there."""

    def named(problem: str, texts: list[str]) -> tuple[str, ...]:
        return problem, *(text.removesuffix("\n\n") for text in texts)

    shares = dict(rolled.group_by("problem_id").agg(pl.col("correct").cast(pl.Float64).mean()).rows())
    known = {named(row["of_problem"], row["steps"]): shares[row["problem_id"]] for row in chosen.to_dicts()}
    references = dict(solutions.select("problem_id", "reference").drop_nulls().rows())
    accepted = steps.filter("accepted").sort(OF)
    for row in steps.filter(finish="eos").to_dicts():
        if row["problem_id"] in references:
            path = accepted.filter(problem_id=row["problem_id"], sample=row["sample"])["text"].to_list()
            texts = [*path[: row["step"]], row["text"]]
            known[named(row["problem_id"], texts)] = float(parity("".join(texts)) == references[row["problem_id"]])
    return known


def test_roll_outs_from_their_beginning_to_labels(stepwave: Command, prefect: str, source: str, tmp_path: Path) -> None:
    dest = tmp_path / "rollouts"
    code, said, err = stepwave("rollouts", source, str(dest), "--samples", "3", "--json")
    assert code == 0, err
    report = json.loads(said)
    check(dest / "run")

    # each step that has a worth to be found is in the problem set once, behind the accepted ones
    chosen = pl.read_parquet(dest / "steps/*.parquet")
    solutions, steps = read_tables(source)
    texts = steps.filter("accepted").sort(OF).group_by("problem_id", "sample", maintain_order=True).agg(path="text")
    gradable = solutions.drop_nulls("reference").select("problem_id", "sample")
    wanted = steps.join(gradable, on=["problem_id", "sample"]).filter(finish="step").join(texts, on=OF[:2])
    wanted = wanted.filter(pl.col("text").str.strip_chars() != "")
    wanted = wanted.with_columns(pl.concat_list(pl.col("path").list.head(pl.col("step")), "text").alias("steps"))
    assert 50 < len(chosen) == len(wanted.unique(["problem_id", "steps"]))
    assert report["chosen"]["steps"] == len(chosen)
    assert sum(report["chosen"]["left_out"].values()) == len(steps) - len(chosen)
    origin = {f"of_{name.removesuffix('_id')}": name for name in OF}
    known = chosen.join(wanted.rename({name: of for of, name in origin.items()}), on=list(origin), suffix="_there")
    assert known["steps"].to_list() == known["steps_there"].to_list()
    assert len(known) == len(chosen)

    # they are rolled out by a run that is the source's but for what it is about
    rolled, _ = read_tables(dest / "run")
    assert len(rolled) == 3 * len(chosen)
    config, before = (yaml.safe_load(Path(p, "config.yaml").read_text()) for p in (dest / "run", source))
    asked_of = {"path": str(dest / "steps"), "limit": None, "prefix": "steps", "skip_done": [], "answers": "text"}
    assert config["input"] == asked_of
    assert (config["models"], config["prompt"], config["run"]) == (before["models"], before["prompt"], before["run"])
    asked = {name: config["decoding"][name] for name in ("method", "samples", "temperature", "max_tokens")}
    assert asked == {"method": "target", "samples": 3, "temperature": 0.8, "max_tokens": 90}
    assert sum(report["estimates"].values()) == len(chosen)

    # every row of a dataset made with them goes as far as they do
    data = tmp_path / "data"
    code, said, err = stepwave(
        "export", "prm", source, str(data), "--labels", "rollouts", "--rollouts", str(dest), "--splits", "none"
    )
    assert code == 0, err
    rows = pl.read_parquet(data / "data/*.parquet")
    assert (rows["estimates"].list.len() == rows["completions"].list.len()).all()
    worth = worths(solutions, steps, chosen, rolled)
    for row in rows.to_dicts():
        beginnings = [(row["problem_id"], *row["completions"][: n + 1]) for n in range(len(row["completions"]))]
        assert row["estimates"] == pytest.approx([worth[beginning] for beginning in beginnings])
        found = [any(share > 0 for steps, share in worth.items() if steps[: len(b)] == b) for b in beginnings]
        assert row["labels"] == found
    assert {share for shares in rows["estimates"].to_list() for share in shares} > {0.0, 1.0}
    assert rows["labels"].to_list() != [[share > 0 for share in shares] for shares in rows["estimates"].to_list()]
    last = rows.join(steps, on=OF, suffix="_there")
    assert last["completions"].list.last().to_list() == last["text"].str.strip_suffix("\n\n").to_list()
    assert len(last) == len(rows)
    covered = {(row["problem_id"], *row["completions"]) for row in rows.to_dicts()}
    for row in wanted.to_dicts():
        row_of = (row["problem_id"], *(text.removesuffix("\n\n") for text in row["steps"]))
        behind_nothing = any(not text.strip() for text in row["steps"])
        assert any(other[: len(row_of)] == row_of for other in covered) or behind_nothing

    # what is done is not done again, and nothing else is mixed in
    there = content(dest)
    code, said, err = stepwave("rollouts", source, str(dest), "--samples", "3")
    assert code == 0, err
    assert "this run is complete: nothing to do" in err
    assert f"{len(chosen):,} of {len(steps):,} attempts" in said
    assert content(dest) == there
    of = ["rollouts", source, str(dest)]
    is_refused = [line for line in stepwave(*of, "--share", "0.5")[2].splitlines() if line.startswith("stepwave: ")]
    assert is_refused == [
        f"stepwave: {dest}: holds roll-outs with other options (samples: 3 there, 8 here; share: 1.0 there, 0.5 here); "
        "give another DEST"
    ]
    code, _, err = stepwave(*of, "--samples", "3", "--set", "decoding.temperature=0.5")
    assert code == 2
    assert "decoding.temperature: 0.8 there, 0.5 here); give another DEST" in err

    # they are no run, but hold one
    for command in (["status"], ["report"], ["export", "sft"], ["rollouts"]):
        words = [*command, str(dest)] + [str(tmp_path / "other")] * (command[0] in ("export", "rollouts"))
        is_mistake(stepwave(*words), f"{dest}: holds roll-outs; name the run that made them, {dest}/run")
    assert content(dest) == there


def test_another_source_is_refused(
    stepwave: Command, prefect: str, source: str, job: Callable[..., Config], generate: Any, tmp_path: Path
) -> None:
    dest = str(tmp_path / "rollouts")
    few = ("--samples", "1", "--share", "0.2")
    assert stepwave("rollouts", source, dest, *few)[0] == 0
    changes = ("decoding.seed=1", "input.answers=text")
    generate(job(*changes, input=str(tmp_path / "gradable.parquet"), output=str(tmp_path / "other")))
    code, _, err = stepwave("rollouts", str(tmp_path / "other"), dest, *few)
    assert code == 2
    assert "holds roll-outs of another run (" in err


def test_stopped_at_any_moment_they_go_on(
    stepwave: Command, prefect: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest, whole = tmp_path / "rollouts", tmp_path / "whole"
    few = ("--samples", "2", "--max-reward", "0.6", "--writer", "draft")
    assert stepwave("rollouts", source, str(whole), *few)[0] == 0

    def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # when the problem set is there, and nobody says so
        patch.setattr(directory, "keep", dies)
        code, _, err = stepwave("rollouts", source, str(dest), *few)
    assert code == 130, err
    assert read_record(Store(str(dest)))["chosen"] is None  # type: ignore[index]
    stale = dest / "steps" / "00099.parquet"
    stale.write_bytes(b"left by a start that found another shard")
    code, _, err = stepwave("rollouts", source, str(dest), *few, "--set", "models.draft.engine.crash=' 12 spoons.'")
    assert code == 1
    assert f"to go on: stepwave rollouts {source} {dest} --samples 2 --max-reward 0.6 --writer draft" in err
    assert not stale.exists()
    assert not (dest / "run" / "manifest.json").exists()
    code, _, err = stepwave("rollouts", source, str(dest), *few)
    assert code == 0, err
    check(dest / "run")
    for a, b in zip(read_tables(dest / "run"), read_tables(whole / "run"), strict=True):
        assert_frame_equal(a.drop("wave", strict=False), b.drop("wave", strict=False))
    assert_frame_equal(pl.read_parquet(dest / "steps/*.parquet"), pl.read_parquet(whole / "steps/*.parquet"))


def test_failed_roll_outs_are_told(stepwave: Command, prefect: str, source: str, tmp_path: Path) -> None:
    refusing = ("--samples", "1", "--set", "models.target.engine.refuse=' 12 spoons.'")
    code, said, err = stepwave("rollouts", source, str(tmp_path / "rollouts"), *refusing)
    assert code == 3
    assert f"stepwave generate {tmp_path}/rollouts/run/config.yaml --retry-failed" in err
    assert "failed" in said


def test_from_and_to_a_bucket(
    stepwave: Command, problem_set: Any, job: Callable[..., Config], generate: Any, s3: str, tmp_path: Path
) -> None:
    path = problem_set({"problem": ["How many?", "How few?"], "answer": ["12", "3"]}, "two.parquet")
    generate(job(input=path, output=f"{s3}/runs/x"))
    code, _, err = stepwave("rollouts", f"{s3}/runs/x", f"{s3}/rollouts/x", "--samples", "2")
    assert code == 0, err
    labels = ("--labels", "rollouts", "--rollouts", f"{s3}/rollouts/x", "--splits", "none")
    assert stepwave("export", "prm", f"{s3}/runs/x", str(tmp_path / "data"), *labels)[0] == 0


def test_mistakes_are_told_before_anything_is_written(
    stepwave: Command, prefect: str, source: str, tmp_path: Path
) -> None:
    dest = tmp_path / "rollouts"

    def of(*words: str, out: str = source) -> Said:
        code, said, err = stepwave("rollouts", out, str(dest), *words)
        return code, said, "\n".join(line for line in err.splitlines() if line.startswith("stepwave: "))

    is_mistake(of(out=f"{tmp_path}/none"), "there is nothing here")
    is_mistake(of("--samples", "0"), "--samples: must be at least 1")
    is_mistake(of("--share", "0"), "--share: must be above 0")
    is_mistake(of("--min-reward", "2"), "--min-reward: must be from 0 to 1")
    is_mistake(of("--min-reward", "0.5", "--max-reward", "0.4"), "--min-reward 0.5 is above --max-reward 0.4")
    is_mistake(of("--writer", "prm"), "writer")
    is_mistake(of("--set", "models.draft=null", "--writer", "draft"), "--set: models.draft is missing")
    is_mistake(of("--set", "drift={reward: [0, 1]}"), "--set: drift.reward: decoding.method target has no such figure")
    is_mistake(of("--set", "input.limit=3"), "--set input.limit: roll-outs have their own")
    is_mistake(of("--set", "decoding.samples=3"), "--samples")
    for change in ("decoding.method=rsd", "decoding.method=target", "decoding.writer=target"):
        is_mistake(of("--set", change), f"--set {change.partition('=')[0]}: roll-outs have their own: --writer says")
    is_mistake(of("--set", "decoding={samples: 5}"), "--set decoding: give what is to change in it key by key")
    is_mistake(of("--set", "decoding.temperature=0"), "at 0 all 8 roll-outs of a step would be identical")
    is_mistake(of("--samples", "99999999999"), "--samples: must be at most 2147483647")
    is_mistake(of("--set", "decoding.metod=draft"), "--set: ", "did you mean method?")
    is_mistake(of("--min-reward", "1"), "there is none to roll out", "reward below the least or above the most")
    assert not list(dest.rglob("*.*"))
    (dest / "notes.txt").write_text("mine")
    is_mistake(of(), "files that are not roll-outs' (such as notes.txt)")
    assert [path.name for path in dest.rglob("*.*")] == ["notes.txt"]


def test_places_that_cannot_be(stepwave: Command, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(Path(source))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(source)
    is_mistake(stepwave("rollouts", "", "there"), "OUT: the directory's name is empty")
    is_mistake(stepwave("rollouts", source, ""), "DEST: the directory's name is empty")
    is_mistake(stepwave("rollouts", source, "there/{date}"), "DEST: {date} is filled in where a Prefect")
    is_mistake(stepwave("rollouts", source, f"{source}/"), f"DEST: {source}/ is OUT")
    is_mistake(stepwave("rollouts", source, f"{source}/rollouts"), f"DEST: {source}/rollouts lies in OUT ({source})")
    is_mistake(stepwave("rollouts", source, "link/rollouts"), "DEST: link/rollouts lies in OUT")
    is_mistake(stepwave("rollouts", source, str(tmp_path)), "is around OUT")
    assert content(Path(source)) == before
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "notes.txt").write_text("mine")
    is_mistake(stepwave("rollouts", "strange", "there"), "strange: holds files, but not those of a run")
    assert not (tmp_path / "there").exists()


@pytest.mark.usefixtures("prefect")
async def test_as_a_deployment_starts_them(source: str, tmp_path: Path) -> None:
    place = f"{tmp_path}/rollouts/{{date}}"
    asked = {"out": source, "dest": place, "options": {"samples": 1, "share": 0.2}}
    run = await started(2, of=flow_module.rollouts, **asked)
    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    assert run.name == f"roll-outs to {tmp_path}/rollouts/2026-11-21"
    assert {"stepwave", "rollouts", "target"} <= set(run.tags)
    check(tmp_path / "rollouts" / "2026-11-21" / "run")
    for changes, told in (
        ({"options": {"sample": 1}}, "options: unknown sample; known: samples, writer"),
        ({"options": {"samples": "many"}}, "options.samples: "),
        ({"options": [1]}, "options: must be a mapping"),
        ({"out": 3}, "out: must be a path"),
        ({"changes": "decoding.temperature=1"}, "changes: must be a list of dotted.key=value"),
    ):
        run = await started(1, of=flow_module.rollouts, **(asked | changes))
        assert run.state is not None
        assert run.state.message is not None
        assert f"UserError: {told}" in run.state.message
