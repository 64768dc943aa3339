"""What makes two runs the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from replaced import DEMO

from schemas.config import Config, ModelConfig
from tasks.configuration.identity import Identity, fingerprint, settings, unlike, unlike_models, usual, with_digests
from tasks.models.model_files import COMMIT, DATE, PATH, PROMPT, SERVED, TEMPLATE, WEIGHTS, Parts, parts_of

Configured = Callable[..., Config]
MODEL: Parts = {PATH: "/m", "config.json": "c", "tokenizer.json": "t", WEIGHTS: "w", PROMPT: "p", TEMPLATE: "j"}


def told(there: Parts, here: Parts) -> str:
    return "; ".join(unlike_models({"draft": there}, {"draft": here}))


def without(model: Parts, *names: str) -> Parts:
    return {part: digest for part, digest in model.items() if part not in names}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({PATH: "/elsewhere"}, ""),
        ({WEIGHTS: "x"}, "models.draft: other weights"),
        ({"config.json": "x", WEIGHTS: "x"}, "models.draft: another config.json, other weights"),
        ({"added_tokens.json": "x"}, "models.draft: another added_tokens.json"),
        ({"engine.hf_config_path": "x"}, ""),  # the settings say so
        ({PROMPT: "x"}, "models.draft: its prompts read differently"),
        ({PROMPT: "x", TEMPLATE: "x"}, "models.draft: another chat template"),
        ({SERVED: "n"}, ""),  # not known there
    ],
)
def test_models_are_what_is_known_of_both(changes: Parts, expected: str) -> None:
    assert told(MODEL, MODEL | changes) == expected
    assert (told(MODEL | changes, MODEL) == "") == (expected == "")


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({PATH: "a/b"}, {PATH: "a/b"}, ""),
        ({PATH: "a/b"}, {PATH: "a/c"}, "models.draft: a/b there, a/c here"),
        ({PATH: "a/b", COMMIT: "1"}, {PATH: "a/b", COMMIT: "2"}, "models.draft: commit 1 there, commit 2 here"),
        ({PATH: "a/b", COMMIT: "1"}, {PATH: "x/y", COMMIT: "1"}, ""),
        ({PATH: "a/b", COMMIT: "1", WEIGHTS: "w"}, {PATH: "a/b", COMMIT: "2", WEIGHTS: "w"}, ""),
        ({PATH: "a/b", SERVED: "m"}, {PATH: "a/b", SERVED: "n"}, "models.draft: served as m there, served as n here"),
        (MODEL, without(MODEL, WEIGHTS), ""),
        (MODEL, without(MODEL, WEIGHTS) | {PATH: "/n"}, "models.draft: /m there, /n here"),
        ({**MODEL, COMMIT: "1"}, {**MODEL, "added_tokens.json": "x"}, ""),  # the hub's cache may have lacked it yet
    ],
)
def test_what_is_known_of_one_alone_decides_nothing_but_a_place_does(there: Parts, here: Parts, expected: str) -> None:
    assert told(there, here) == expected


def test_a_day_is_told_once_for_all_that_write_it() -> None:
    there = {role: MODEL | {DATE: "2026-01-05", PROMPT: "5"} for role in ("draft", "target")}
    here = {role: MODEL | {DATE: "2026-01-06", PROMPT: "6"} for role in ("draft", "target")}
    [line] = unlike_models(there, here)
    assert line == (
        "prompt.date: 2026-01-05 there, 2026-01-06 here, which the chat template of draft and target writes"
    )


def test_a_file_that_was_added_or_removed_counts(tmp_path: Path) -> None:
    shutil.copytree(DEMO / "draft", tmp_path / "draft")
    before = parts_of(ModelConfig(model=str(tmp_path / "draft")))
    (tmp_path / "draft" / "special_tokens_map.json").write_text("{}")
    after = parts_of(ModelConfig(model=str(tmp_path / "draft")))
    assert told(before, after) == told(after, before) == "models.draft: another special_tokens_map.json"


# --- settings


def test_a_setting_that_an_older_release_did_not_know_is_its_default(configured: Configured) -> None:
    here = configured()
    values = with_digests(settings(here))
    for key in list(values):
        there = {name: value for name, value in values.items() if name != key}
        assert unlike(there, values, usual(here)) == ([] if key in usual(here) else unlike(there, values))
        if values[key] is not None:
            assert unlike(values, there, usual(here)), "one that was there and is not known here"


@pytest.mark.parametrize("change", ["models.draft.engine.steps=9", "models.prm.engine.max_model_len=1024"])
def test_an_argument_of_an_engine_has_no_default(configured: Configured, change: str) -> None:
    there, here = configured(), configured(change)
    assert unlike(with_digests(settings(there)), with_digests(settings(here)), usual(here))


def test_long_texts_are_kept_as_a_digest(configured: Configured) -> None:
    one, other = (configured(f"prompt.system={'x' * 500}{end}") for end in "ab")
    values = with_digests(settings(one))
    assert len(str(values["prompt.system"])) < 100
    assert unlike(values, with_digests(settings(other)))[0].startswith("prompt.system: another text there")
    assert with_digests(values) == values


def test_a_run_is_its_settings_models_and_input(configured: Configured) -> None:
    def run_id(*changes: str, models: Any = None, given: str = "i") -> str:
        return Identity.of(configured(*changes), {"draft": MODEL | (models or {})}, given).run_id

    assert run_id() == run_id(models={PATH: "/n"}) == run_id("prompt.date=2026-01-01") == run_id("run.in_flight=2")
    assert len({run_id(), run_id("decoding.seed=1"), run_id(models={WEIGHTS: "x"}), run_id(given="j")}) == 4
    begun = Identity.of(configured(), {}, "i").as_begun({"run_id": "abc", "config_fingerprint": "f"})
    assert (begun.run_id, begun.config) == ("abc", "f")
    assert fingerprint(configured(), {"draft": {PATH: "a"}}) != fingerprint(configured(), {"draft": {PATH: "b"}})
