"""The settings that a page tells of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from report.outputs import MODELS, few, write_evaluation, write_run
from tasks.report import write_report
from tasks.report.gather import gather
from tasks.report.settings import Setting, settings
from tasks.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


def of_run(store: Store, **sections: Any) -> dict[str, dict[str, Setting]]:
    write_run(store, [few(2)], settings=sections)
    return {section: {e.name: e for e in entries} for section, entries in settings(gather(store, None).runs).items()}


def test_what_is_not_the_default_is_told_from_what_is(store: Store) -> None:
    found = of_run(store, prompt={"user": "Solve: {problem}"}, run={"shard_size": 7}, decoding={"seed": 3})
    assert found["prompt"]["user"] == ("user", True, [("Solve: {problem}", "")], 0)
    assert found["run"]["shard_size"].given
    assert found["decoding"]["seed"].given
    assert found["models.draft"]["model"] == ("model", True, [("models/draft", "")], 0)
    assert not found["decoding"]["max_tokens"].given
    assert not found["decoding"]["accept.threshold"].given
    assert "limit" not in found["input"], "null by default"


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ({"threshold": 0.7}, {"accept.rule": False, "accept.threshold": False}),
        ({"threshold": 0.5}, {"accept.rule": False, "accept.threshold": True}),
        ({"rule": "constant", "probability": 0.5}, {"accept.rule": True, "accept.probability": True}),
    ],
)
def test_a_rule_that_is_not_the_default_is_given_with_all_that_it_has(
    store: Store, accept: dict[str, Any], given: dict[str, bool]
) -> None:
    found = of_run(store, decoding={"accept": accept})["decoding"]
    assert {name: of.given for name, of in found.items() if name.startswith("accept")} == given


def test_a_system_message_that_was_taken_out_is_told(store: Store) -> None:
    assert of_run(store, prompt={"system": None})["prompt"]["system"] == ("system", True, [("null", "")], 0)


def test_arguments_of_an_engine_are_told(store: Store) -> None:
    models = MODELS | {"draft": {"model": "d", "engine": {"max_model_len": 512, "hf_overrides": {"a": [1]}}}}
    found = of_run(store, models=models)["models.draft"]
    assert found["engine.max_model_len"].values == [("512", "")]
    assert found["engine.hf_overrides"].values == [('{"a": [1]}', "")]


def test_what_the_method_does_not_read_is_left_out(store: Store) -> None:
    write_run(store, [few(2)], method="target", settings={"decoding": {"method": "target"}})
    found = settings(gather(store, None).runs)
    assert {name for name in found if name.startswith("models.")} == {"models.target"}
    assert not {"accept.threshold", "beams", "candidates"} & {entry.name for entry in found["decoding"]}


def test_where_a_run_lies_is_left_out(store: Store) -> None:
    found = of_run(store, storage={"region": "somewhere-1"})
    assert not {"output", "storage"} & set(found)
    write_report(store)
    assert b"somewhere-1" not in store.read("report/index.html")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{problem}\nGo.", "{problem}\nGo."),
        ("{problem}\n", '"{problem}\\n"'),
        (" {problem}", '" {problem}"'),
        ("{problem}\u202e\x1b[31m", '"{problem}\\u202e\\u001b[31m"'),
        ("{problem}\t.", '"{problem}\\t."'),
        ("<b>{problem}</b>", "<b>{problem}</b>"),
    ],
)
def test_blanks_and_signs_that_nobody_sees_are_written_out(store: Store, text: str, shown: str) -> None:
    assert of_run(store, prompt={"user": text})["prompt"]["user"].values == [(shown, "")]


def test_runs_that_differ(store: Store) -> None:
    write_evaluation(store, ["one", "two"])
    found = {e.name: e for e in settings(gather(store, None).runs)["decoding"]}
    assert found["method"].values == [("draft", "draft"), ("rsd", "rsd δ 0.5, rsd δ 0.9"), ("target", "target")]
    assert found["accept.threshold"].values == [("0.5", "rsd δ 0.5"), ("0.9", "rsd δ 0.9")]
    assert found["samples"].values == [("1", "")]


def test_values_without_end_are_counted(store: Store) -> None:
    write_evaluation(store, [f"b{n:02d}" for n in range(15)])
    for n in range(15):
        for method in ("target", "draft", "rsd-0.5", "rsd-0.9"):
            key = f"runs/b{n:02d}/{method}-s0/config.yaml"
            store.write(key, store.read(key).replace(b"path: /p", f"path: /p{n}".encode()))
    [path] = [e for e in settings(gather(store, None).runs)["input"] if e.name == "path"]
    assert path.values[:2] == [("/p0", "b00"), ("/p1", "b01")]
    assert len(path.values) + path.more == 15
    assert path.more == 3


def test_settings_are_text_in_the_page(store: Store) -> None:
    of_run(store, prompt={"user": "</dd><script>window.ran = 1</script>{problem}"})
    write_report(store)
    page = store.read("report/index.html").decode()
    assert "&lt;/dd&gt;&lt;script&gt;window.ran = 1&lt;/script&gt;{problem}" in page
    assert "<script>window.ran" not in page
