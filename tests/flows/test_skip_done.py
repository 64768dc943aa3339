"""Problems that earlier outputs have solved are left out, and which ones stays as it was when the run began."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.check import check, lines
from schemas.config import Config
from tasks.errors import UserError
from tasks.output.directory import RunDirectory
from tasks.planning import skip_done
from tasks.planning.plan import make_plan
from tasks.storage.store import Store

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]
ONE = ["decoding.samples=1", "decoding.temperature=0", "decoding.max_tokens=40", "run={shard_size: 3}"]


@pytest.fixture
def night(job: Job, problem_set: Callable[..., str], tmp_path: Path) -> Callable[..., Config]:
    """A run over so many problems, in an output of its own below nights/, that skips what others there solved."""

    def configured(number: int | str, count: int, *changes: str, **columns: list[Any]) -> Config:
        path = problem_set({"problem": [f"How many are {n} and 1?" for n in range(count)]} | columns)
        nights = tmp_path / "nights"
        skip = [f"input.skip_done={nights}/*"]
        return job(*ONE, *skip, *changes, input=path, output=f"{nights}/{number}")

    return configured


def solved(config: Config) -> list[str]:
    tables = sorted(Path(config.output.path, "solutions").glob("*.parquet"))
    return [problem for path in tables for problem in pl.read_parquet(path)["problem"].to_list()]


def numbers(config: Config) -> list[int]:
    return [int(problem.split()[3]) for problem in solved(config)]


def output(config: Config) -> RunDirectory:
    return RunDirectory(Store(config.output.path, config.storage))


def test_a_growing_input_is_solved_once(night: Callable[..., Config], generate: Generate) -> None:
    first = night(1, 4)
    manifest = generate(first)
    assert numbers(first) == [0, 1, 2, 3]
    assert manifest["input"]["skipped"] == 0
    second = night(2, 7)
    told = "\n".join(lines(check(second)))
    assert "problems that earlier outputs have solved: 4" in told
    assert "nights/1: 4 solved" in told
    manifest = generate(second)
    assert numbers(second) == [4, 5, 6]
    assert (manifest["input"]["usable"], manifest["input"]["skipped"], manifest["counts"]["rejected"]) == (3, 4, 0)
    third = night(3, 7)
    manifest = generate(third)
    assert numbers(third) == []
    assert manifest["counts"]["solutions"] == 0
    assert generate(third) == manifest


def test_nothing_is_started_for_nothing(
    night: Callable[..., Config], generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(night(1, 4))

    def started(*_: Any) -> Any:
        raise AssertionError("engines are started")

    monkeypatch.setattr("tasks.generation.engine_pool.open_engines", started)
    auto = "decoding.accept={threshold: auto, target_share: 0.3}"
    assert generate(night(2, 4, auto))["counts"]["solutions"] == 0


def test_a_limit_below_which_all_is_solved_is_told(night: Callable[..., Config], generate: Generate) -> None:
    """It counts rows of the input, whatever is left out of them."""
    generate(night(1, 4))
    told = "input.limit: earlier runs have solved all that can be used of the first 3 rows"
    assert [told in line for line in check(night(2, 9, "input.limit=3"))["warnings"]][-1:] == [True]
    for others in ("input.limit=5", "input.limit=null"):
        assert not any("input.limit" in line for line in check(night(2, 9, others))["warnings"])


def test_a_problem_is_one_by_its_id_and_its_text(night: Callable[..., Config], generate: Generate) -> None:
    generate(night(1, 3, problem_id=["a", "b", "c"]))
    again = night(2, 4, problem_id=["a", "c", "b", None])
    generate(again)
    assert numbers(again) == [1, 2, 3]  # b and c have other texts now


def test_what_failed_is_not_done(night: Callable[..., Config], generate: Generate) -> None:
    refusing = "models.draft.engine={kind: scripted, max_model_len: 2048, refuse: ' 2 and'}"
    assert generate(night(1, 4, refusing, "decoding.samples=2", "decoding.temperature=0.8"))["counts"]["failed"] == 2
    again = night(2, 5)
    generate(again)
    assert numbers(again) == [2, 4]


def test_which_ones_is_settled_when_the_run_begins(night: Callable[..., Config], generate: Generate) -> None:
    generate(night("a", 2))
    begun = night("b", 6)
    plan, found = skip_done.decide(make_plan(begun), output(begun))  # and is killed
    assert found is not None
    assert (found.problems, plan.survey.usable) == (2, 4)
    other = night("c", 4)
    generate(other)
    assert numbers(other) == [2, 3]
    begun = night("b", 6)
    assert "problems that earlier outputs have solved: 2 (decided when" in "\n".join(lines(check(begun)))
    # nor do other outputs, or none, change it
    elsewhere = begun.input.model_copy(update={"skip_done": ("/no/such/*",)})
    manifest = generate(begun.model_copy(update={"input": elsewhere}))
    assert numbers(begun) == [2, 3, 4, 5]
    assert manifest["input"]["skipped"] == 2
    with pytest.raises(UserError, match=r"input\.skip_done: true there, null here"):
        generate(begun.model_copy(update={"input": begun.input.model_copy(update={"skip_done": ()})}))


def test_the_first_of_two_processes_settles_it(
    night: Callable[..., Config], generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looked before, when less was there, takes over what the other has kept."""
    generate(night("a", 2))
    begun = night("b", 6)
    early = skip_done._look(make_plan(begun), output(begun).store)
    generate(night("c", 4))
    begun = night("b", 6)
    first, _ = skip_done.decide(make_plan(begun), output(begun))
    kept, nothing_yet = skip_done._kept, [None]
    monkeypatch.setattr(skip_done, "_kept", lambda *of: nothing_yet.pop() if nothing_yet else kept(*of))
    monkeypatch.setattr(skip_done, "_look", lambda *_: early)
    second, _ = skip_done.decide(make_plan(begun), output(begun))
    assert first.survey.usable == second.survey.usable == 2
    assert first.survey.fingerprint == second.survey.fingerprint


def test_only_committed_shards_count(night: Callable[..., Config], generate: Generate) -> None:
    whole = night(1, 9)
    generate(whole)
    where = Path(whole.output.path)
    (where / "shards/00001.json").unlink()
    (where / "manifest.json").unlink()
    again = night(2, 9)
    generate(again)
    assert numbers(again) == [3, 4, 5]


def test_in_a_bucket(job: Job, problem_set: Callable[..., str], s3: str, generate: Generate) -> None:
    def night(number: int, count: int) -> Config:
        path = problem_set({"problem": [f"How many are {n} and 1?" for n in range(count)]})
        return job(*ONE, f"input.skip_done=[{s3}/nights/*, {s3}/once]", input=path, output=f"{s3}/nights/{number}")

    assert generate(night(1, 4))["input"]["skipped"] == 0
    manifest = generate(night(2, 6))
    assert (manifest["input"]["usable"], manifest["input"]["skipped"]) == (2, 4)


def test_what_is_no_run_is_refused_and_what_is_missing_told(
    night: Callable[..., Config], tmp_path: Path, generate: Generate
) -> None:
    missing = night(1, 3, f"input.skip_done=[{tmp_path}/soon, {tmp_path}/nights/1]")
    assert f"{tmp_path}/soon: nothing there yet" in "\n".join(lines(check(missing)))
    assert len(check(missing)["skipped"]["told"]) == 2  # its own is none of them
    assert "names or matches no output that is there" in "\n".join(lines(check(night(1, 3))))
    (tmp_path / "others").mkdir()
    (tmp_path / "others/notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"input\.skip_done: .*/others: holds no run"):
        check(night(1, 3, f"input.skip_done={tmp_path}/others"))
    with pytest.raises(UserError, match=r"input\.skip_done: .*notes\.txt.*lies below a file"):
        check(night(1, 3, f"input.skip_done={tmp_path}/others/notes.txt"))
    (tmp_path / "others/evaluation.yaml").write_text("x")
    with pytest.raises(UserError, match=r"input\.skip_done: .*is an evaluation; name its runs"):
        check(night(1, 3, f"input.skip_done={tmp_path}/others"))


@pytest.mark.parametrize("damage", [lambda c: c[:-20], lambda c: c.replace(b'"problems": 2', b'"problems": 1')])
def test_a_damaged_list_is_told(
    night: Callable[..., Config], generate: Generate, damage: Callable[[bytes], bytes]
) -> None:
    generate(night(1, 2))
    begun = night(2, 4)
    skip_done.decide(make_plan(begun), output(begun))
    path = Path(begun.output.path, skip_done.KEY)
    assert json.loads(path.read_bytes())["problems"] == 2
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"skipped\.json: is damaged"):
        generate(begun)


def test_another_input_is_another_run(night: Callable[..., Config], generate: Generate) -> None:
    generate(night(1, 2))
    begun = night(2, 4)
    skip_done.decide(make_plan(begun), output(begun))
    with pytest.raises(UserError, match="holds a run of another input"):
        generate(night(2, 5))
