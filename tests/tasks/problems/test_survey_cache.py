"""A survey that is kept in the output: equal when it is read, and used only for what it was made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hostile import GONE, ODD, changed, places

from schemas.config import Config
from tasks.planning.plan import Plan, make_plan, survey_key
from tasks.problems import survey_cache
from tasks.storage.sealed import packed, seal, unseal
from tasks.storage.store import Store

Job = Callable[..., Config]


@pytest.fixture
def plan(job: Job) -> Plan:
    return make_plan(job(), here=False)


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    store = Store(str(tmp_path / "kept"))
    survey_cache.keep(store, plan.survey, survey_key(plan))
    return store


def refused(key: str) -> Any:
    raise AssertionError("the input is surveyed")


def test_what_is_kept_is_what_was_found(plan: Plan, store: Store, job: Job) -> None:
    found = survey_cache.load(store, survey_key(plan))
    assert found is not None
    assert found.files == plan.survey.files
    assert [file.version for file in found.files] == [file.version for file in plan.survey.files]
    assert np.array_equal(found.verdicts, plan.survey.verdicts)
    assert found.fingerprint == plan.survey.fingerprint
    assert found.longest == plan.survey.longest
    assert survey_cache.still_holds(found, job(), None)
    again = make_plan(job(), here=False, surveyed=lambda key: survey_cache.load(store, key))
    assert again.survey.rejected() == plan.survey.rejected()
    assert again.limits == plan.limits


def test_how_files_are_read_is_kept(job: Job, problem_set: Callable[..., str], tmp_path: Path) -> None:
    """Their pages need not be looked at again, nor the names of their folders."""
    long = pa.array(["x" * 300_000])
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), long)
    table = pa.table({"problem": [f"{n}?" for n in range(100)], "page": repeated})
    problem_set(table, "set/level=1/p.parquet", store_schema=False)
    made = make_plan(job("input.answers=index", input=str(tmp_path / "set")), here=False)
    store = Store(str(tmp_path / "other"))
    survey_cache.keep(store, made.survey, survey_key(made))
    found = survey_cache.load(store, survey_key(made))
    assert found is not None
    assert found.files[0].layout == made.survey.files[0].layout
    assert found.files[0].layout is not None
    assert found.files[0].layout[0].kept == (("page", "page"),)
    assert found.files[0].folders == {"level": 1}
    assert found.fingerprint == made.survey.fingerprint
    assert found.config == made.survey.config


@pytest.mark.parametrize(
    "change",
    ["prompt.user='Solve {problem}'", "models.target.engine.max_model_len=200", "input.limit=20", "prompt.system=null"],
)
def test_another_prompt_window_or_part_of_the_input_has_a_survey_of_its_own(
    plan: Plan, store: Store, job: Job, change: str
) -> None:
    other = make_plan(job(change), here=False)
    assert survey_key(other) != survey_key(plan)
    assert survey_cache.load(store, survey_key(other)) is None


def test_a_damaged_one_counts_as_none(plan: Plan, store: Store) -> None:
    content = store.read(survey_cache.KEY)
    store.write(survey_cache.KEY, content.replace(b"versi", b"Versi", 1))
    assert survey_cache.load(store, survey_key(plan)) is None


def test_one_of_files_that_changed_does_not_hold(plan: Plan, job: Job, mixed: str, problem_set: Any) -> None:
    Path(mixed).touch()
    assert not survey_cache.still_holds(plan.survey, job(), None)


def test_one_of_fewer_files_does_not_hold(job: Job, problem_set: Callable[..., str]) -> None:
    paths = [problem_set(pa.table({"problem": [f"{n}?"]}), f"many/{n}.parquet") for n in range(2)]
    config = job("decoding.samples=1", input=str(Path(paths[0]).parent))
    found = make_plan(config, here=False).survey
    assert survey_cache.still_holds(found, config, None)
    problem_set(pa.table({"problem": ["new?"]}), "many/new.parquet")
    assert not survey_cache.still_holds(found, config, None)
    Path(paths[0]).unlink()
    assert not survey_cache.still_holds(found, config, None)


def test_a_plan_for_elsewhere_asks_for_no_device(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plan says of the input and the models is the same."""

    def asked(*_: Any) -> Any:
        raise AssertionError("devices are asked for")

    monkeypatch.setattr("tasks.planning.roles.share", asked)
    kinds = [f"models.{role}.engine={{kind: vllm}}" for role in ("draft", "target", "prm")]
    plan = make_plan(job(*kinds), here=False)
    assert set(plan.params) == {"draft", "target", "prm"}
    assert plan.shards == 5


def test_anything_in_any_place_is_a_survey_or_none(plan: Plan, store: Store) -> None:
    whole = unseal(store.read(survey_cache.KEY))
    assert whole is not None
    for path in places(whole):
        for other in ODD:
            if other is not GONE or isinstance(path[-1], str):
                store.write(survey_cache.KEY, seal(changed(whole, path, other)))
                survey_cache.load(store, survey_key(plan))


def test_verdicts_of_more_rows_than_any_input_has_are_not_unpacked(plan: Plan, store: Store) -> None:
    whole = unseal(store.read(survey_cache.KEY))
    assert whole is not None
    rows = survey_cache.MOST_ROWS + 1
    store.write(survey_cache.KEY, seal(whole | {"rows": rows, "verdicts": packed(bytes(1 << 20))}))
    assert survey_cache.load(store, survey_key(plan)) is None
