"""Configurations: what is read, what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from configuration.parsed import LEAST, parsed

from schemas.config import Config
from tasks.errors import UserError
from tasks.output.config_file import load_config


def mistake(*changes: str, text: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        parsed(*changes, text=text)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    return message


def test_ten_lines_are_enough() -> None:
    config = parsed()
    assert (config.decoding.method, config.decoding.samples, config.decoding.seed) == ("rsd", 1, 0)
    assert (config.decoding.temperature, config.decoding.top_p) == (0.0, 1.0)
    assert (config.decoding.max_steps, config.decoding.max_tokens) == (100, 4096)
    assert config.decoding.accept.model_dump() == {"rule": "threshold", "threshold": 0.7, "target_share": None}
    assert (config.run.shard_size, config.prompt.separator, config.prompt.user) == (1024, "\n\n", "{problem}")
    assert config.models.prm is not None
    assert config.models.prm.format == "qwen"


def test_local_paths_become_absolute_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    (tmp_path / "models" / "draft").mkdir(parents=True)
    config = parsed("models.draft.model=models/draft", "input.path=~/p.parquet")
    assert config.input.path == "/home/somebody/p.parquet"
    assert config.output.path == str(tmp_path / "out")
    assert config.models.draft is not None
    assert config.models.draft.model == str(tmp_path / "models" / "draft")
    assert config.models.target is not None
    assert config.models.target.model == "a/target"
    assert parsed("output.path=s3://bucket/x").output.path == "s3://bucket/x"


# --- set


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("decoding.accept.threshold=0.9", lambda c: c.decoding.accept.threshold == 0.9),
        ("decoding.accept={rule: clip}", lambda c: c.decoding.accept.model_dump() == {"rule": "clip"}),
        ("decoding.samples=4", lambda c: c.decoding.samples == 4),
        ("input.limit=null", lambda c: c.input.limit is None),
        ("prompt.system=null", lambda c: c.prompt.system is None),
        ("prompt.system=a = b", lambda c: c.prompt.system == "a = b"),
        ('prompt.separator="\\n"', lambda c: c.prompt.separator == "\n"),
        ("models.draft.engine.kind=scripted", lambda c: c.models.draft.engine.kind == "scripted"),
        ("models.target.engine.max_model_len=512", lambda c: c.models.target.engine.arguments["max_model_len"] == 512),
        ("storage.region=eu-west-1", lambda c: c.storage.region == "eu-west-1"),
        (" decoding.seed=3", lambda c: c.decoding.seed == 3),
        ("input.skip_done=/a/*", lambda c: c.input.skip_done == ("/a/*",)),
        ("input.skip_done=[/a, /b]", lambda c: c.input.skip_done == ("/a", "/b")),
        ("decoding.accept={rule: logistic, alpha: 3}", lambda c: c.decoding.accept.alpha == 3),
    ],
)
def test_set(change: str, read: Callable[[Config], bool]) -> None:
    assert read(parsed(change))


@pytest.mark.parametrize(
    "text",
    [
        "Solve: {problem}",
        "{problem}",
        "- {problem} #1",
        "# {problem}",
        "[{problem}]",
        "*{problem}*",
        "&a {problem}: b",
        "! {problem}\n\nend",
        "{problem} ",
        "> {problem}",
        "@{problem}",
        "%{problem}",
        "{problem}:\t?",
    ],
)
def test_text_needs_no_quotes_for_yaml(text: str) -> None:
    assert parsed(f"prompt.user={text}").prompt.user == text.strip(" ")
    assert parsed(f'prompt.user="{text}"'.replace("\n", "\\n").replace("\t", "\\t")).prompt.user == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("input.path", "/2024-11-21"),
        ("models.draft.model", "12"),
        ("models.draft.model", "1e5"),
        ("models.prm.model", "true"),
        ("prompt.separator", "\n\n"),
        ("prompt.separator", "---"),
        ("storage.region", "1_000"),
        ("input.prefix", "2024-11-21"),
        ("output.path", "/runs/#3"),
    ],
)
def test_what_is_to_be_text_is_no_number_date_or_comment(key: str, text: str) -> None:
    value: Any = parsed(f"{key}={text}")
    for part in key.split("."):
        value = getattr(value, part)
    assert value == text


def test_the_last_of_several_changes_counts() -> None:
    config = parsed("decoding.seed=1", "decoding={method: draft}", "decoding.seed=2")
    assert (config.decoding.method, config.decoding.seed) == ("draft", 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("decoding.seed", "--set decoding.seed: reads dotted.key=value"),
        ("=3", "--set: reads dotted.key=value"),
        (".seed=3", "--set: reads dotted.key=value"),
        ("decoding..seed=3", "--set decoding..seed: reads dotted.key=value"),
        ("input.path.deeper=1", "--set input.path.deeper: path is not a section"),
        ("storage=[", "--set storage: not valid YAML"),
        ("prompt.system='tis", "--set prompt.system: not valid YAML"),
    ],
)
def test_changes_that_cannot_be_read(change: str, told: str) -> None:
    assert mistake(change).startswith(told)


@pytest.mark.parametrize("value", ["2024-13-45", "0b_", "9" * 5000, "[" * 5000], ids=lambda v: v[:10])
def test_values_that_yaml_chokes_on_are_told(value: str) -> None:
    assert "--set decoding.seed: " in mistake(f"decoding.seed={value}")
    assert "job.yaml" in mistake(text=f"decoding:\n  seed: {value}\n")


# --- mistakes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["decoding.acept.threshold=1"], "decoding.acept: unknown key; did you mean accept?"),
        (["decodin.seed=1"], "decodin: unknown key; did you mean decoding?"),
        (["models.draft.modle=x"], "models.draft.modle: unknown key; did you mean model?"),
        (["models.prm.fromat=qwen"], "models.prm.fromat: unknown key; did you mean format?"),
        (["decoding.accept.treshold=0.5"], "decoding.accept.treshold: unknown key; did you mean threshold?"),
        (
            ["decoding.accept={rule: clip, threshold: 0.5}"],
            "rule clip has no such parameter; threshold and logistic do",
        ),
        (
            ["decoding.accept={threshold: 0.5, alpha: 3}"],
            "accept.alpha: rule threshold has no such parameter; logistic",
        ),
        (["decoding.accept={rule: logistic, target_share: 0.3}"], "accept.target_share: rule logistic has no such"),
        (["decoding.accept={rule: logistic, alhpa: 3}"], "decoding.accept.alhpa: unknown key; did you mean alpha?"),
        (["run.zzz=1"], "run.zzz: unknown key; known here: shard_size,"),
        (["decoding.accept.rule=treshold"], "decoding.accept.rule: unknown rule treshold; known: 'constant'"),
        (["decoding.accept.threshold=1.2"], "decoding.accept.threshold: "),
        (["decoding.accept.threshold=high"], "decoding.accept.threshold: "),
        (["decoding.method=rds"], "decoding.method: "),
        (["decoding.samples=0"], "decoding.samples: "),
        (["decoding.temperature=.nan"], "decoding.temperature: "),
        (["decoding.max_tokens=-1"], "decoding.max_tokens: "),
        (["input.limit=0"], "input.limit: "),
        (["input.path="], "input.path: "),
        (["output.path=''"], "output.path: "),
        (["prompt.user=solve it"], "prompt.user: must contain {problem}"),
        (["prompt.template=solve it"], "prompt.template: must contain {user}"),
        (["prompt.separator=''"], "prompt.separator: "),
        (["models.draft.engine.kind=vlm"], "models.draft.engine.kind: "),
        (["models.prm.format=qwn"], "models.prm.format: "),
        (["models.draft=null"], "models.draft is missing: decoding.method 'rsd' needs it"),
        (["models.prm=null"], "models.prm is missing: decoding.method 'rsd' needs it"),
        (["models.target=null", "decoding.method=target"], "models.target is missing"),
        (["models.target={}"], "models.target.model is missing"),
    ],
)
def test_mistakes_name_file_and_field(changes: list[str], told: str) -> None:
    message = mistake(*changes)
    assert message.startswith("job.yaml: ")
    assert told in message


def test_one_model_is_enough_for_a_method_of_one_model() -> None:
    assert parsed("decoding.method=draft", "models.target=null", "models.prm=null").roles == ("draft",)
    assert parsed("decoding.method=target", "models.draft=null", "models.prm=null").roles == ("target",)


def test_credentials_are_refused_and_not_repeated() -> None:
    message = mistake("storage.endpoint_url=https://key:topsecret@host")
    assert "environment" in message
    assert "topsecret" not in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a mapping"),
        ("- a\n", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("{}", "input is missing; output is missing; models is missing"),
        ("input: {path: p}\noutput: [\n", "line "),
        ("input: a: b\n", "line 1: not valid YAML"),
        ("a:\n\tb: 1\n", "line 2: not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
        ("[" * 3000, "nested too deeply"),
        ("1: 2\n", "is missing"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_text_that_is_no_configuration(text: str, told: str) -> None:
    message = mistake(text=text)
    assert message.startswith("job.yaml")
    assert told in message


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    for name, content in (("binary.yaml", b"\xff\xfe\x00"), ("parquet.yaml", b"PAR1\x80")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: not UTF-8"):
            load_config(str(tmp_path / name), [])
    with pytest.raises(UserError, match=r"no\.yaml: no such configuration file"):
        load_config(str(tmp_path / "no.yaml"), [])
    with pytest.raises(UserError, match="directory"):
        load_config(str(tmp_path), [])


def test_a_configuration_on_s3(s3: str) -> None:
    import s3fs

    with pytest.raises(UserError, match=r"job\.yaml: no such configuration file"):
        load_config(f"{s3}/job.yaml", [])
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(f"{s3[5:]}/job.yaml", yaml.safe_dump(LEAST).encode())
    assert load_config(f"{s3}/job.yaml", ["decoding.seed=5"]).decoding.seed == 5
