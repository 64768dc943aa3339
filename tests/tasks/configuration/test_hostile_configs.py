"""Configuration files that are none, or that are made to do harm: told in a line, without hanging or filling memory."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.configuration.identity import differences
from tasks.configuration.parsing import dump_config, parse_config
from tasks.errors import UserError
from tasks.output.config_file import LARGEST, load_config

LEAST: dict[str, Any] = {
    "input": {"path": "p.parquet"},
    "output": {"path": "out"},
    "models": {"draft": {"model": "a/draft"}, "target": {"model": "a/target"}, "prm": {"model": "a/prm"}},
}
GOOD = yaml.safe_dump(LEAST)


pytestmark = pytest.mark.usefixtures("no_hang")


def told(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(str(path), [])
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1500
    return message


def mistake(text: str, *changes: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_config(text, list(changes), "job.yaml")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1500
    return message


FIGURES = [
    "decoding.temperature=X",
    "decoding.top_p=X",
    "decoding.accept.threshold=X",
    "decoding.accept={rule: constant, probability: X}",
    "decoding.accept={rule: logistic, threshold: X}",
    "decoding.accept={rule: logistic, alpha: X}",
    "decoding.accept={threshold: auto, target_share: X}",
    "drift={target_share: [0.1, X]}",
    "drift={reward: [X, 1]}",
    "models.draft.params=X",
    "models.prm.params=X",
    "run.checkpoint_seconds=X",
    "run.store_patience=X",
    "run.engine_patience=X",
    "decoding.seed=X",
    "decoding.max_tokens=X",
]


@pytest.mark.parametrize("change", FIGURES)
@pytest.mark.parametrize("none", [".nan", ".inf", "-.inf", "nan", "inf", "1e999"])
def test_figures_that_are_no_numbers(change: str, none: str) -> None:
    """As YAML writes them, and as text that a number could be read from; in the file or by --set."""
    changed = change.replace("X", none)
    field = changed.partition("=")[0]
    assert f"job.yaml: {field}" in mistake(GOOD, changed)
    *sections, name = field.split(".")
    values = yaml.safe_load(GOOD)
    at = values
    for section in sections:
        at = at.setdefault(section, {})
    at[name] = yaml.safe_load(changed.partition("=")[2])
    assert f"job.yaml: {field}" in mistake(yaml.safe_dump(values))


def test_parameters_are_so_few_that_flops_are_a_number() -> None:
    assert "models.draft.params: input should be less than or equal to" in mistake(GOOD, "models.draft.params=1.0e+300")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe: is a pipe, a device or a socket, not a file" in told(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        assert "not a file" in told(tmp_path / "socket")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert "not a file" in told(tmp_path / "zero")
    assert "not a file" in told("/dev/null")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop: " in told(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert "nowhere: no such configuration file" in told(tmp_path / "nowhere")
    assert "no such" in told(tmp_path / "job.yaml" / "deeper")
    assert "xxx: " in told(tmp_path / ("x" * 300))
    assert "x" in told("x" * 10_000)


def test_names_are_data(tmp_path: Path) -> None:
    assert "a\\nb\\x1b[31m\\u202e.yaml: no such configuration file" in told(tmp_path / "a\nb\x1b[31m\u202e.yaml")
    (tmp_path / "a\nb.yaml").write_text("input: [")
    assert "a\\nb.yaml, line 1: not valid YAML" in told(tmp_path / "a\nb.yaml")
    (tmp_path / "a\nb.yaml").write_text(GOOD)
    load_config(str(tmp_path / "a\nb.yaml"), [])
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")
    assert "\\udcff.yaml: no such configuration file" in told(odd)
    Path(odd).write_text(GOOD)
    load_config(odd, [])


def test_a_file_of_a_gigabyte(tmp_path: Path) -> None:
    with open(tmp_path / "large.yaml", "wb") as f:
        f.truncate(1 << 30)
    assert "large.yaml: larger than 1 MiB" in told(tmp_path / "large.yaml")
    (tmp_path / "just.yaml").write_text(GOOD + "#" * (LARGEST - len(GOOD)))
    load_config(str(tmp_path / "just.yaml"), [])


def test_encodings(tmp_path: Path) -> None:
    def of(content: bytes) -> Path:
        (tmp_path / "job.yaml").write_bytes(content)
        return tmp_path / "job.yaml"

    assert load_config(str(of(b"\xef\xbb\xbf" + GOOD.encode())), []).output.path.endswith("out")
    for encoding in ("utf-16", "utf-32"):
        assert "job.yaml: not UTF-8 text" in told(of(GOOD.encode(encoding)))
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):  # no mark: valid UTF-8, full of NUL
        assert "job.yaml: not valid YAML (special characters are not allowed)" in told(of(GOOD.encode(encoding)))
    assert "not valid YAML" in told(of(GOOD.encode() + b"\0"))
    assert "not UTF-8 text" in told(of(GOOD.encode() + b"# \xed\xa0\x80\n"))
    for content in (b"", b"\n", b"---\n", b"# nothing\n", b"---\n---\n"):
        assert "job.yaml" in told(of(content))


def bomb(first: str, line: str) -> str:
    """Twelve lines, each of which names the one before nine times."""
    lines = [
        f"a0: &a0 {first}",
        *(f"a{i}: &a{i} {line}".replace("*", ", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 12)),
    ]
    return "\n".join(lines) + "\n"


LISTS, MERGES, KEYS = bomb("[x, x, x]", "[*]"), bomb("{x: 1}", "{<<: [*]}"), bomb("[x, x, x]", "{? [*] : 1}")


@pytest.mark.parametrize("text", [LISTS, MERGES, KEYS], ids=["lists", "merges", "keys"])
def test_a_few_lines_that_stand_for_billions_of_values(text: str) -> None:
    assert "job.yaml: holds more than 100,000 values" in mistake(GOOD + text)


def test_a_bomb_in_a_change() -> None:
    text = "{" + LISTS.strip().replace("\n", ", ") + "}"
    assert "--set storage: holds more than 100,000 values" in mistake(GOOD, f"storage={text}")
    assert parse_config(GOOD, [f"prompt.system={text}"], "job.yaml").prompt.system == text  # text is no YAML


@pytest.mark.parametrize("text", ["x: &x [*x]\n", "x: &x {a: {b: [*x]}}\n", "x: &x {<<: *x}\n", "x: &x {? *x : 1}\n"])
def test_an_alias_that_holds_itself(text: str) -> None:
    assert "job.yaml" in mistake(GOOD + text)


def test_aliases_and_merges_are_taken() -> None:
    text = """
base: &base {kind: scripted, max_model_len: 512}
input: {path: p.parquet}
output: {path: out}
models:
  draft: {model: a/draft, engine: &engine {kind: scripted, max_model_len: 512}}
  target: {model: a/target, engine: *engine}
  prm: {model: a/prm, engine: {<<: *engine, max_model_len: 256}}
"""
    assert "base: unknown key" in mistake(text)
    config = parse_config(text.replace("base: &base {kind: scripted, max_model_len: 512}\n", ""), [], "job.yaml")
    windows = [config.model(role).engine.arguments["max_model_len"] for role in config.roles]
    assert windows == [512, 512, 256]


def test_a_change_of_one_use_of_an_alias_leaves_the_others() -> None:
    text = """
input: {path: p.parquet}
output: {path: out}
models:
  draft: &model {model: a/draft, engine: {kind: scripted}}
  target: *model
  prm: {model: a/prm}
"""
    config = parse_config(text, ["models.draft.engine.max_model_len=99", "models.draft.model=b/draft"], "job.yaml")
    assert config.models.target is not None
    assert (config.models.target.model, config.models.target.engine.arguments) == ("a/draft", {})


def test_a_key_that_is_set_twice() -> None:
    assert "job.yaml, line 2: seed is set twice" in mistake("decoding:\n  {seed: 1, seed: 2}\n")
    assert "output is set twice" in mistake(GOOD + "output: {path: elsewhere}\n")


@pytest.mark.parametrize(
    "value",
    [
        "!!timestamp x",
        "!!int ''",
        "!!int x",
        "!!float ''",
        "!!float x",
        "!!bool x",
        "!!null x",
        "!!binary é",
        "!!binary /w==",
        "!!set {a, b}",
        "!!pairs [a: b]",
        "2024-01-01",
        "2024-01-01 10:00:00Z",
        "{1: 2, null: 3, 1.5: 4}",
        "!!set [a]",
        "!!omap [a]",
        "!!pairs x",
        "!!python/tuple [1]",
        "!!python/object/apply:os.system [exit]",
        "!!map x",
        "!!seq x",
        "0x" + "f" * 4000,
        "1e999999",
        "-.inf",
        ".nan",
        '"\\ud800"',
        '"a\\0b"',
        "2024-02-30",
        "? x",
        "<<",
        "=",
        "1_000",
        "1:30:00",
    ],
)
@pytest.mark.parametrize("key", ["decoding.seed", "output.path", "models.draft.model", "models.draft.engine.x"])
def test_values_that_are_not_what_they_look_like(key: str, value: str) -> None:
    """Refused in a line, or taken as a value that can be written down and read again."""
    with contextlib.suppress(UserError):
        config = parse_config(GOOD, [f"{key}={value}"], "job.yaml")
        assert differences(parse_config(dump_config(config), [], "config.yaml"), config) == []


def test_counts_that_no_machine_has() -> None:
    for change in ("run.in_flight=10000000000", "decoding.samples=99999999999", "run.shard_size=1e12"):
        assert change.partition("=")[0] in mistake(GOOD, change)


def test_keys_are_data() -> None:
    assert "job.yaml: a...: unknown key" in mistake(GOOD + '"a\\nb\\e[31m": 1\n')
    assert "unknown key" in mistake(GOOD + f"{'x' * 1000}: 1\n")
    assert "unknown key" in mistake(GOOD + '"\\0": 1\n')
    for key in ("1", "null", "1.5", "2024-01-01", "~", "true"):
        assert "job.yaml: " in mistake(GOOD + f"{key}: 1\n")
