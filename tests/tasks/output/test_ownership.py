"""Whose output it is: other configurations, inputs, versions and files are refused by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from output.small_outputs import SIZE, again, commit, content, folder, mistake

from schemas.config import Config
from tasks.configuration.identity import settings, with_digests
from tasks.configuration.parsing import dump_config
from tasks.errors import UserError
from tasks.output.directory import RunDirectory
from tasks.output.made_with import made_with
from tasks.output.run_files import text_digest
from tasks.storage.sealed import FORMAT
from tasks.storage.store import Store

Configured = Callable[..., Config]


def test_the_same_configuration_and_input_are_welcome_again(
    output: RunDirectory, config: Config, configured: Configured
) -> None:
    first = output.begin(config, "input", SIZE)
    before = content(output)
    others = configured("run.in_flight=3", "run.checkpoint_seconds=9", "run.store_patience=1")
    assert again(output).begin(others, "input", SIZE) == first
    assert content(output) == before
    assert before["config.yaml"].decode() == dump_config(config)
    assert output.run() == {
        "format": FORMAT,
        "run_id": first.run_id,
        "config_fingerprint": first.config,
        "input_fingerprint": "input",
        "config_yaml": text_digest(before["config.yaml"]),
        "identity": {"settings": with_digests(settings(config)), "models": {}},
        "made_with": made_with(),
        "retries": 0,
        "token": output.token(first),
        **SIZE,
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("decoding.accept.threshold=0.9", "decoding.accept.threshold: 0.7 there, 0.9 here"),
        ("decoding.seed=1", "decoding.seed: 0 there, 1 here"),
        ("decoding.method=draft", 'decoding.method: "rsd" there, "draft" here'),
        ("run.shard_size=7", "run.shard_size: 1024 there, 7 here"),
        ("prompt.system=null", "prompt.system: "),
        ("models.draft.params=5", "models.draft.params: null there, 5.0 here"),
        ("models.draft.engine.tokens_per_step=5", "models.draft.engine.tokens_per_step: null there, 5 here"),
        ("decoding.accept={rule: clip}", "decoding.accept.threshold: 0.7 there, null here"),
        ("input.limit=5", "input.limit: null there, 5 here"),
    ],
)
def test_another_configuration_is_refused_by_name(
    output: RunDirectory, config: Config, configured: Configured, change: str, told: str
) -> None:
    output.begin(config, "input", SIZE)
    before, other = content(output), configured(change)
    for act in (
        lambda: output.check_same(other),
        lambda: output.begin(other, "input", SIZE),
        lambda: output.begin(other, "input", SIZE, retry_failed=True),
    ):
        message = mistake(act)
        assert str(folder(output)) in message
        assert told in message
    assert content(output) == before


@pytest.mark.parametrize("state", ["begun", "a shard done", "complete"])
def test_another_input_is_refused(output: RunDirectory, config: Config, state: str) -> None:
    identity = commit(output, config, *([] if state == "begun" else [0]))
    if state == "complete":
        output.finish(identity, {"counts": {"failed": 1}})
    if state == "a shard done":
        output.store.delete(["checkpoints/run.json"])
    output.check_same(config)
    output.check_same(config, "input")
    before = content(output)
    for act in (
        lambda: output.check_same(config, "changed"),
        lambda: output.begin(config, "changed", SIZE),
        lambda: output.begin(config, "changed", SIZE, retry_failed=True),
    ):
        message = mistake(act)
        assert "another input" in message
        assert str(folder(output)) in message
    assert content(output) == before


def sealed(value: dict[str, Any]) -> bytes:
    checksum = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return json.dumps(value | {"checksum": checksum}).encode()


FIRST = {"format": 1, "run_id": "x", "input_fingerprint": "input", "shard": 0, "tables": {}, "counts": {}}


@pytest.mark.parametrize("key", ["checkpoints/run.json", "manifest.json", "shards/00000.json"])
@pytest.mark.parametrize(
    ("written", "number"), [(json.dumps(FIRST).encode(), 1), (sealed(FIRST | {"format": FORMAT + 1}), FORMAT + 1)]
)
def test_another_versions_run_is_refused_and_left_alone(
    output: RunDirectory, config: Config, key: str, written: bytes, number: int
) -> None:
    """Its records are not damaged; nothing of it is to be made again."""
    output.store.write("config.yaml", dump_config(config).encode())
    output.store.write(key, written)
    before = content(output)
    for act in (
        lambda: output.check_same(config),
        lambda: output.begin(config, "input", SIZE),
        lambda: output.begin(config, "input", SIZE, retry_failed=True),
    ):
        message = mistake(act)
        assert str(folder(output)) in message
        assert f"another version of Stepwave wrote (format {number}, here {FORMAT})" in message
    assert content(output) == before


def test_a_directory_of_other_files_is_refused_and_left_alone(output: RunDirectory, config: Config) -> None:
    folder(output).mkdir()
    (folder(output) / "thesis.tex").write_text("years of work")
    for act in (lambda: output.check_same(config), lambda: output.begin(config, "input", SIZE)):
        message = mistake(act)
        assert "thesis.tex" in message
        assert str(folder(output)) in message
    assert [p.name for p in folder(output).iterdir()] == ["thesis.tex"]


def test_an_empty_directory_is_taken(output: RunDirectory, config: Config) -> None:
    folder(output).mkdir()
    output.begin(config, "input", SIZE)


@pytest.mark.parametrize("written", [b"", b"input: [", b"\xff\xfe", b"input: {path: x}\n", b"- 1\n"])
def test_a_damaged_configuration_is_told(output: RunDirectory, config: Config, written: bytes) -> None:
    output.begin(config, "input", SIZE)
    (folder(output) / "config.yaml").write_bytes(written)
    message = mistake(lambda: output.check_same(config))
    assert str(folder(output) / "config.yaml") in message
    assert "output.path" in message


def test_one_that_begins_while_another_does_is_no_stranger(
    output: RunDirectory, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's first file appears between two looks at the output."""
    keys = output.store.keys
    monkeypatch.setattr(
        output.store, "keys", lambda prefix: (again(output).begin(config, "input", SIZE), keys(prefix))[1]
    )
    output.check_same(config, "input")


def test_of_many_that_begin_at_once_one_owns_the_output(configured: Configured) -> None:
    configs = [configured(f"decoding.seed={n}") for n in range(8)]

    def begin(config: Config) -> bool:
        try:
            RunDirectory(Store(config.output.path)).begin(config, "input", SIZE)
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(begin, configs))
    assert sum(won) == 1
    winner = RunDirectory(Store(configs[0].output.path))
    identity = winner.begin(configs[won.index(True)], "input", SIZE)
    assert (winner.run() or {})["run_id"] == identity.run_id


def test_a_damaged_run_file_is_written_again(output: RunDirectory, config: Config) -> None:
    identity = output.begin(config, "input", SIZE)
    before, token = output.run() or {}, output.token(identity)
    (folder(output) / "checkpoints" / "run.json").write_bytes(b"{")
    assert output.run() is None
    output.begin(config, "input", SIZE)
    assert output.run() == before | {"token": output.token(identity)}
    assert output.token(identity) != token
