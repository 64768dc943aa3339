"""What `check` says of the machine: what is in flight, and how models share devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from flows.check import check, lines
from schemas.config import Config
from tasks.engines import memory
from tasks.engines.gpu_memory import GIB
from tasks.errors import UserError

Job = Callable[..., Config]


def test_engines_without_caches_bound_nothing(job: Job) -> None:
    report = check(job("run={}"))
    assert report["in_flight"]["binds"] is None
    assert "no cache is known" in "\n".join(lines(report))
    assert check(job())["in_flight"]["trajectories"] == 3 * 7


def test_who_takes_turns_and_what_that_costs(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "on_cpu", lambda: False)
    monkeypatch.setattr(memory, "gpu_sizes", lambda: [24 * GIB, 24 * GIB])
    vllm = [f"models.{role}.engine={{kind: vllm, max_model_len: 2048}}" for role in ("draft", "target", "prm")]
    report = check(job(*vllm, "run={sharing: turns}", "models.prm.engine.replicas=2"))
    text = "\n".join(lines(report))
    assert "draft, target, prm take turns on gpu 0,1: a round of swaps takes about 0 s and empties their caches" in text
    weights = {role: model["weight_bytes"] for role, model in report["models"].items()}
    asleep = (weights["draft"] + weights["target"] + 2 * weights["prm"]) / (1 << 20)
    assert f"weights that sleep take up to {asleep:.1f} MiB of host memory" in text
    assert "on gpu 0 and 1 (the first ones: engine.device_ids is not given)" in text
    assert report["models"]["prm"]["replicas"] == [[0], [1]]
    flight = report["in_flight"]
    assert flight["binds"] in ("draft", "target", "prm")
    assert f"the {flight['binds']}'s cache, the smallest, holds {flight['at_full_length']:,} of full length" in text


def test_what_solutions_go_on_from(job: Job, problem_set: Callable[..., str]) -> None:
    assert "go on from" not in "\n".join(lines(check(job())))
    begun = problem_set({"problem": ["How many?", "How few?"], "begun": [["One."], None]}, "begun.parquet")
    report = check(job(f"input={{path: {begun}, prefix: begun}}"))
    assert report["prefix"] == "begun"
    assert "solutions go on from the steps in column 'begun'" in "\n".join(lines(report))


def test_references_that_grading_cannot_read(job: Job, problem_set: Callable[..., str]) -> None:
    assert "grading can" not in "\n".join(lines(check(job())))
    rows = {"problem": ["One?", "Two?", "Three?"], "answer": ["The answer is 1", "x +", "???"]}
    report = check(job(f"input.path={problem_set(rows, 'answers.parquet')}"))
    assert report["references"]["unread"] == 2
    text = "\n".join(lines(report))
    assert "grading cannot read 2 of 3 rows: such a problem's solutions get no verdict" in text
    assert "the first: row 1 ('x +'), row 2 ('???')" in text


def test_what_the_run_is_watched_for(job: Job) -> None:
    assert check(job())["drift"] is None
    text = "\n".join(lines(check(job("drift={target_share: [0.2, 0.28], reward: [0.65, 0.75], problems: 20}"))))
    bands = "20.00% to 28.00% of the steps from the target and a mean reward of 0.6500 to 0.7500"
    assert f"{bands}, judged once a process has committed 20 problems" in text
    assert "never judged" not in text
    auto = "decoding.accept={threshold: auto, target_share: 0.3}"
    text = "\n".join(lines(check(job(auto, "drift={stop: true, problems: 1000}"))))
    assert "own calibration, outside which the run ends, judged once a process has committed 1,000" in text
    assert "never judged: there are 56 (drift.problems)" in text


def test_another_machine_is_planned_for(job: Job) -> None:
    vllm = [f"models.{role}.engine={{kind: vllm, max_model_len: 2048}}" for role in ("draft", "target", "prm")]
    two_gpus = "models.target.engine.pipeline_parallel_size=2"
    report = check(job(*vllm, two_gpus), [24 * GIB, 24 * GIB])
    assert report["models"]["target"]["device"] == "gpu 0,1"
    with pytest.raises(UserError, match=r"models.target.engine: asks for GPU 1, but the planned machine has 1"):
        check(job(*vllm, two_gpus), [24 * GIB])
    with pytest.raises(UserError, match=r"tensor_parallel_size: 2 does not divide the model's 5 attention heads"):
        check(job(*vllm, "models.target.engine.tensor_parallel_size=2"), [24 * GIB, 24 * GIB])


def test_columns_that_folders_are(job: Job, problem_set: Callable[..., str], tmp_path: Path) -> None:
    assert "names of folders" not in "\n".join(lines(check(job())))
    for level in (1, 2):
        problem_set({"problem": [f"How many of {level}?"]}, f"set/level={level}/source=x/p.parquet")
    report = check(job(input=str(tmp_path / "set")))
    assert report["folders"] == ["level", "source"]
    assert "columns from names of folders: level, source" in "\n".join(lines(report))


def test_answers_that_may_be_places_end_a_check(job: Job, problem_set: Callable[..., str]) -> None:
    path = problem_set({"problem": ["Which?"], "choices": [["2", "3", "5"]], "answer": [2]}, "places.parquet")
    with pytest.raises(UserError, match=r"row 0 has the answer '2' beside choices.*input\.answers: index"):
        check(job(input=path))
    assert check(job("input.answers=index", input=path))["problems"] == 1


def test_a_shard_of_gigabytes_ends_a_check(job: Job, problem_set: Callable[..., str]) -> None:
    """Its rows are few bytes on disk, for a dictionary has them."""
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["x" * 10_000_000]))
    table = pa.table({"problem": [f"{n}?" for n in range(200)], "page": rows})
    path = problem_set(table, "large.parquet", store_schema=False, dictionary_pagesize_limit=1 << 30)
    with pytest.raises(UserError, match=r"rows 0 to 199, a shard, hold about 2,\d\d\d MiB.* a run\.shard_size of \d\d"):
        check(job("run.shard_size=1000", input=path))
    assert check(job("run.shard_size=20", input=path))["shards"] == 10
