"""A reward model that gives NaN, for some texts or for all: whole runs on scripted engines, as a user sees them."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from invariants import check, read_tables
from polars.testing import assert_frame_equal
from test_command_line import Said, stepwave

from schemas.config import Config
from tasks.errors import UserError
from tasks.output.directory import Identity, RunDirectory
from tasks.output.sound_rewards import TOLD
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2

__all__ = ["stepwave"]

Command = Callable[..., Said]
Job = Callable[..., Config]
SOME, ALL = "models.prm.engine.nan=Milo has 1", "models.prm.engine.nan=Milo"
POISONED = r"^Milo has 1"
CONFIDENT = ("models.prm={format: confidence}", "models.draft.engine.nan=Milo has 1")
METHODS = {
    "rsd": (SOME,),
    "rsd of several": (SOME, "decoding.candidates=3"),
    "best_of_n": (SOME, "decoding.method=best_of_n"),
    "process_best_of_n": (SOME, "decoding.method=process_best_of_n", "decoding.candidates=2"),
    "beam": (SOME, "decoding.method=beam", "decoding.candidates=2", "decoding.beams=2"),
    "its writer's confidence": CONFIDENT,
    "best of confidence": (*CONFIDENT, "decoding.method=best_of_n"),
    "in the engine of a writer": (
        "models.prm={same_as: target, format: judge}",
        "models.target.engine.nan=Milo has 1",
        "decoding.method=best_of_n",
        "decoding.writer=target",
    ),
}


def without(value: Any) -> bool:
    """Has a value of JSON no NaN or infinity in it?"""
    json.dumps(value, allow_nan=False)
    return True


@pytest.mark.parametrize("changes", METHODS.values(), ids=METHODS)
def test_the_rows_of_some_texts_fail_and_the_others_are_as_ever(
    job: Job, generate: Any, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    manifest = generate(job(*changes))
    well = [change for change in changes if "nan=" not in change]
    generate(job(*well, output=str(tmp_path / "well")))
    check(tmp_path / "out")
    solutions, steps = read_tables(tmp_path / "out")
    failed = solutions.filter(status="failed")
    assert failed["problem"].str.contains(POISONED).all()
    assert set(failed["problem_id"]) == set(solutions.filter(pl.col("problem").str.contains(POISONED))["problem_id"])
    writer = "draft" if CONFIDENT[1] in changes else "prm"
    assert failed["error"].str.contains(rf"^{writer}: .*/models/\w+ gave nan, which is no reward").all()
    assert manifest["counts"]["failed"] == len(failed) > 0
    assert without(manifest)
    rewards = steps["reward"].drop_nulls()
    assert rewards.is_between(0, 1).all()
    assert len(rewards)
    for frame in (solutions, steps):
        numbers = frame.select(pl.col(pl.Float32, pl.Float64))
        assert numbers.select(pl.all().fill_null(0).is_finite().all()).to_series().all() or numbers.is_empty()
    fine = pl.col("problem_id").is_in(failed["problem_id"].implode()).not_()
    for one, other in zip((solutions, steps), read_tables(tmp_path / "well"), strict=True):
        one, other = (frame.filter(fine).drop("run_id", "wave", strict=False) for frame in (one, other))
        assert_frame_equal(one, other)


def ends(said: Said, *told: str) -> None:
    """A mistake, told in a line after those of progress."""
    code, out, err = said
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert all(text in last for text in told), last


def test_the_command_says_so_and_trying_again_ends(
    stepwave: Command, job: Job, problem_set: Callable[..., str], tmp_path: Path
) -> None:
    """More problems fail than a model is given before its run ends: it has given rewards in this run."""
    problems = [f"Milo has {n} {'red' if n % 2 else 'blue'} spoons." for n in range(40)]
    config = job("run.shard_size=1", input=problem_set({"problem": problems}, "spoons.parquet"))
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    words = ("generate", str(path), "--set", "models.prm.engine.nan=' red'", "--json")
    code, said, told = stepwave(*words)
    assert code == 3
    assert json.loads(said)["counts"]["failed"] == 40
    assert "40 solutions failed: see status and error" in told
    before, _ = read_tables(tmp_path / "out")
    assert set(before.filter(status="failed")["problem"]) == set(problems[1::2])
    code, said, told = stepwave(*words, "--retry-failed")
    assert code == 3
    assert json.loads(said)["counts"]["failed"] == 40
    assert_frame_equal(read_tables(tmp_path / "out")[0], before)


class TestOneThatGivesNothingElse:
    @pytest.mark.parametrize(
        "changes",
        [
            (ALL,),
            (ALL, "decoding.method=best_of_n"),
            ("models.prm={format: confidence}", "models.draft.engine.nan=Milo"),
            (ALL, "decoding.accept={threshold: auto, target_share: 0.3}"),
        ],
    )
    def test_generate_ends(self, job: Job, generate: Any, tmp_path: Path, changes: tuple[str, ...]) -> None:
        with pytest.raises(UserError, match=r"^models\.(prm|draft\.model): .*/models/\w+ gives no rewards"):
            generate(job(*changes))
        assert not list((tmp_path / "out").rglob("manifest.json"))

    def test_the_command_says_it_in_a_line(self, stepwave: Command, job: Job, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(job(ALL).model_dump(mode="json")))
        for _ in range(2):  # again on the same output as well
            ends(stepwave("generate", str(path)), "models.prm:", "gives no rewards: on each of the first 16 problems")

    def test_calibrate_ends(self, prefect: str, job: Job, tmp_path: Path) -> None:
        from flows.calibrate import calibrate
        from tasks.calibration.recommendation import Wish

        with pytest.raises(UserError, match=r"models\.prm: .* gives no rewards"):
            asyncio.run(calibrate(job(ALL), str(tmp_path / "cal"), Wish("target_share", 0.5), [0.3, 0.5]))

    def test_evaluate_ends(self, stepwave: Command, job: Job, mixed: str, tmp_path: Path) -> None:
        """And names the one of several that it is."""
        of_job = job().model_dump(mode="json")
        values = {
            "benchmarks": [{"name": "mixed", "path": mixed}],
            "methods": [{"method": "rsd"}, {"name": "other", "method": "rsd", "prm": "broken"}],
            "prms": {"broken": of_job["models"]["prm"] | {"engine": {"kind": "scripted", "nan": "Milo"}}},
            "output": {"path": str(tmp_path / "evaluation")},
            "models": of_job["models"],
            "decoding": {"max_tokens": 90, "max_steps": 6},
            "run": {name: of_job["run"][name] for name in ("shard_size", "in_flight", "engine_restarts")},
        }
        path = tmp_path / "evaluation.yaml"
        path.write_text(yaml.safe_dump(values))
        ends(stepwave("evaluate", str(path)), "prms.broken", "gives no rewards")

    def test_an_export_that_asks_it_ends(self, stepwave: Command, job: Job, generate: Any, tmp_path: Path) -> None:
        generate(job("decoding.method=target", ALL))
        said = stepwave("export", "prm", str(tmp_path / "out"), f"{tmp_path}/data")
        ends(said, "models.prm:", "gives no rewards", "--labels answer")
        generate(job(output=str(tmp_path / "rsd")))
        words = ["export", "prm", str(tmp_path / "rsd"), f"{tmp_path}/data"]
        code, said_, _ = stepwave(*words, "--set", SOME, "--json")
        assert code == 0
        assert json.loads(said_)["runs"][0]["scored"]["none"] > 0


class TestOneThatAnOlderReleaseBeganWith:
    """It kept what the model gave, and decided by it."""

    @pytest.fixture
    def begun(self, job: Job, generate: Any, tmp_path: Path) -> tuple[RunDirectory, Path]:
        """A run of five shards of which the second is still to be made; and the same run untouched."""
        for name in ("out", "well"):
            generate(job(output=str(tmp_path / name)))
        for gone in ("manifest.json", "shards/00001.json", "report/index.html"):
            (tmp_path / "out" / gone).unlink()
        return RunDirectory(Store(str(tmp_path / "out"))), tmp_path / "well"

    def test_what_is_committed_stays_and_is_told(
        self, job: Job, generate: Any, begun: tuple[RunDirectory, Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        output, _ = begun
        record = output.records().good[0]
        tables = {name: pq.read_table(output.store.path(of["key"])) for name, of in record["tables"].items()}
        tables["steps"] = spoilt(tables["steps"], "p05")
        identity = Identity(record["config_fingerprint"], record["input_fingerprint"], **record["identity"])
        output.store.delete(["shards/00000.json", *(of["key"] for of in record["tables"].values())])
        output.commit(0, identity, tables, record["counts"], record["computed"])
        manifest = generate(job())
        assert manifest["counts"]["failed"] == 0
        assert [message for message in caplog.messages if TOLD in message]
        assert TOLD in output.store.read("report/index.html").decode()

    def test_what_was_decided_in_flight_is_decided_again(
        self, job: Job, generate: Any, begun: tuple[RunDirectory, Path]
    ) -> None:
        output, well = begun
        steps = pq.read_table(output.store.path("steps/00001.parquet"))
        output.save_steps(1, "an-older-one", spoilt(steps, "p14"), {})
        generate(job())
        for one, other in zip(read_tables(Path(output.store.path())), read_tables(well), strict=True):
            assert_frame_equal(one.drop("wave", strict=False), other.drop("wave", strict=False))


def spoilt(steps: pa.Table, problem: str) -> pa.Table:
    """The attempts of a problem rejected, as NaN was by thresholds."""
    hit = pc.and_(pc.equal(steps["problem_id"], problem), pc.is_valid(steps["reward"]))
    assert pc.any(hit).as_py()
    place = steps.schema.get_field_index("reward")
    return steps.set_column(
        place, steps.schema.field("reward"), pc.if_else(hit, pa.scalar(math.nan, pa.float32()), steps["reward"])
    )
