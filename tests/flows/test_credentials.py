"""Credentials that a careless user writes down are refused before they get anywhere, and never said again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import application
from flows.prefect_api import server
from schemas.config import Config
from schemas.credentials import CredentialError, redacted

ROOT = Path(__file__).resolve().parents[2]
CANARY = "wJalrXUtnFEMI/K7MDENGbPxRfiCYCANARY"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
HUB = "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZ012345"
SAID = (CANARY, KEY_ID, HUB, CANARY[:12])
Said = tuple[int, str, str]


@pytest.fixture
def stepwave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A command in this process: exit code, stdout, stderr. It ends before Prefect hears of it."""

    def never() -> None:
        raise AssertionError("Prefect was asked to run it")

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["stepwave", *words])
        monkeypatch.setattr(server, "settle_environment", never)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            application.main()
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out, said.err

    return run


@pytest.fixture
def values(tmp_path: Path, problem_set: Callable[..., str], models: Path) -> dict[str, Any]:
    """A configuration that would run."""
    scripted = {"kind": "scripted"}
    return {
        "input": {"path": problem_set({"problem": ["1+1?"]})},
        "output": {"path": str(tmp_path / "out")},
        "models": {role: {"model": str(models / role), "engine": scripted} for role in ("draft", "target", "prm")},
    }


def refused(said: Said, *told: str) -> None:
    code, out, err = said
    assert code == 2, err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2
    for part in SAID:
        assert part not in out + err, err
    for part in told:
        assert part in err, err


WRITTEN: list[tuple[dict[str, Any], str]] = [
    ({"storage": {"key": KEY_ID, "secret": CANARY}}, "storage.key"),
    ({"storage": {"secret": CANARY}}, "storage.secret"),
    ({"storage": {"secret_access_key": CANARY}}, "storage.secret_access_key"),
    ({"storage": {"AWS_SECRET_ACCESS_KEY": CANARY}}, "storage.AWS_SECRET_ACCESS_KEY"),
    ({"storage": {"client_kwargs": {"aws_session_token": CANARY}}}, "storage.client_kwargs"),
    ({"storage": {"password": 12345678}}, "storage.password"),
    ({"storage": {"user": CANARY}}, "storage.user: unknown key"),
    ({"storage": CANARY}, "storage: "),
    ({"storage": {"anonymous": CANARY}}, "storage.anonymous"),
    ({"storage": {"region": [CANARY]}}, "storage.region"),
    ({"storage": {"region": CANARY}}, "storage.region"),
    ({"storage": {"endpoint_url": f"https://{KEY_ID}:{CANARY}@host"}}, "storage.endpoint_url"),
    ({"storage": {"endpoint_url": f"https://{CANARY}@host:9000/path"}}, "storage.endpoint_url"),
    ({"storage": {"endpoint_url": f"https://host?token={CANARY}"}}, "storage.endpoint_url"),
    ({"storage": {"endpoint_url": f"https://host/?x={CANARY}"}}, "storage.endpoint_url"),
    ({"storage": {"endpoint_url": f"https://host#{CANARY}"}}, "storage.endpoint_url"),
    ({"storage": {"endpoint_url": CANARY}}, "storage.endpoint_url"),
    ({"storage": {f"endpoint_url:https://key:{CANARY}@host": None}}, "storage.endpoint_url"),  # no space after :
    ({"storage": {f"secret:{CANARY}": None}}, "storage.secret"),
    ({"secrets": {"aws": CANARY}}, "secrets"),
    ({"credentials": [KEY_ID, CANARY]}, "credentials"),
    ({"hf_token": HUB}, "hf_token"),
    ({"hub": HUB}, "hub"),
    ({CANARY: 1}, "...: unknown key"),
    ({"models": {"draft": {"token": CANARY}}}, "models.draft.token"),
    ({"models": {"draft": {"model": f"https://user:{HUB}@huggingface.co/a/b"}}}, "models.draft.model"),
    ({"models": {"draft": {"model": f"https://host/b?X-Amz-Signature={CANARY}"}}}, "models.draft.model"),
    ({"models": {"draft": {"model": HUB}}}, "models.draft.model"),
    ({"models": {"target": {"engine": {"hf_token": HUB}}}}, "models.target.engine.hf_token"),
    ({"models": {"target": {"engine": {"api_key": CANARY}}}}, "models.target.engine.api_key"),
    ({"models": {"target": {"engine": {"api_key_env": CANARY}}}}, "models.target.engine.api_key_env"),
    ({"models": {"target": {"engine": {"api_key_env": KEY_ID}}}}, "models.target.engine.api_key_env"),
    ({"models": {"target": {"engine": {"endpoints": [f"http://user:{CANARY}@a:8000"]}}}}, "models.target.engine"),
    ({"models": {"target": {"engine": {"env": {"HF_TOKEN": CANARY}}}}}, "models.target.engine.env.HF_TOKEN"),
    ({"models": {"target": {"engine": {"a": {"b": [{"apiKey": CANARY}]}}}}}, "models.target.engine.a.b.0...."),
    ({"models": {"target": {"engine": {"x": f"Bearer {HUB}"}}}}, "models.target.engine.x"),
    ({"models": {"target": {"params": CANARY}}}, "models.target.params"),
    ({"models": {"prm": {"format": CANARY}}}, "models.prm.format"),
    ({"input": {"path": f"s3://{KEY_ID}:{CANARY}@bucket/p.parquet"}}, "input.path"),
    ({"input": {"path": f"s3://bucket/p.parquet?X-Amz-Signature={CANARY}"}}, "input.path"),
    ({"input": {"path": f"https://host/{CANARY}/p.parquet"}}, "input.path: only local paths and s3://"),
    ({"input": {"path": f"{CANARY}://host"}}, "input.path"),
    ({"output": {"path": f"s3://{KEY_ID}:{CANARY}@bucket/x"}}, "output.path"),
    ({"output": {"path": f"s3://{KEY_ID}@bucket/x"}}, "output.path"),
    ({"output": {"path": f"https://account.blob/x?sig={CANARY}"}}, "output.path"),
    ({"output": {"path": f"s3://bucket/x?aws_secret_access_key={CANARY}"}}, "output.path"),
    ({"decoding": {"accept": {"rule": CANARY}}}, "decoding.accept.rule"),
    ({"decoding": {"method": CANARY}}, "decoding.method"),
]


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(values)
    for key, value in more.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


@pytest.mark.parametrize("command", ["check", "generate"])
@pytest.mark.parametrize(("written", "told"), WRITTEN, ids=[str(i) for i in range(len(WRITTEN))])
def test_in_the_configuration(
    stepwave: Callable[..., Said],
    values: dict[str, Any],
    written: dict[str, Any],
    told: str,
    command: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(merged(values, written)))
    refused(stepwave(command, str(tmp_path / "job.yaml")), "job.yaml: ", told)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("written", "told"), WRITTEN, ids=[str(i) for i in range(len(WRITTEN))])
def test_in_a_change(
    stepwave: Callable[..., Said], values: dict[str, Any], written: dict[str, Any], told: str, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(values))
    path, value = "", written
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        path += f".{key}"
    refused(stepwave("check", str(tmp_path / "job.yaml"), "--set", f"{path[1:]}={json.dumps(value)}"), told)


@pytest.mark.parametrize(
    "change",
    [
        f"storage.secret:{CANARY}",
        f"storage.secret {CANARY}",
        f"{CANARY}",
        f"storage.secret=[{CANARY}",
        f"storage.secret=*{CANARY.replace('/', '')}",
        f"storage.secret=!{CANARY}",
        f"storage.secret='{CANARY}",
        f"storage.secret=%{CANARY}",
        f"storage.secret=a: {CANARY}: c",
        f"storage.secret=!!int {CANARY}",
        f"storage.secret=!!timestamp {CANARY}",
        f"storage.secret=!!python/name:{CANARY}",
        f"storage.secret.{CANARY}",
        f"input.path.{CANARY}=1",
        f"storage.endpoint_url.https://{CANARY}@host=1",
        f"decoding.seed={CANARY}",
        f"decoding.samples={CANARY}",
        f"models={CANARY}",
        f"models.draft={CANARY}",
        f"decoding.temperature=[{CANARY}]",
        f"decoding.max_steps={{{CANARY}: 1}}",
        f"run.batch_invariant={CANARY}",
        f"models.draft.engine.kind={CANARY}",
        f"models.draft.engine.max_model_len={CANARY}",
    ],
)
def test_in_a_change_that_cannot_be_read(
    stepwave: Callable[..., Said], values: dict[str, Any], change: str, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(values))
    refused(stepwave("check", str(tmp_path / "job.yaml"), "--set", change))


@pytest.mark.parametrize(
    "line",
    [
        f"secret: [{CANARY}",
        f"secret: *{CANARY.replace('/', '')}",
        f"secret: !{CANARY}",
        f'secret: "{CANARY}',
        f"secret: @{CANARY}",
        f"secret: %{CANARY}: x: y",
        f"{CANARY}",
        f"\tsecret: {CANARY}",
        f"secret: {CANARY}\nsecret: {CANARY}",
        f"secret: &{CANARY.replace('/', '')} 1\nx: &{CANARY.replace('/', '')} 2\n{CANARY}",
        f"? [{CANARY}]\n: 1",
        f"secret: !!float {CANARY}",
        f"secret: !!binary {CANARY}é",
        f"secret: '{CANARY}\x07'",
        f"<<: {CANARY}",
    ],
)
def test_in_text_that_is_no_yaml(
    stepwave: Callable[..., Said], values: dict[str, Any], line: str, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(values) + line + "\n")
    refused(stepwave("generate", str(tmp_path / "job.yaml")), "job.yaml")


def test_in_the_name_of_a_file(stepwave: Callable[..., Said], tmp_path: Path) -> None:
    address = f"https://user:{CANARY}@host/job.yaml"
    refused(stepwave("check", address))
    refused(stepwave("check", f"s3://{KEY_ID}:{CANARY}@bucket/job.yaml"))
    refused(stepwave("status", f"s3://{KEY_ID}:{CANARY}@bucket/x"))
    refused(stepwave("import", "jsonl", f"s3://bucket/p.jsonl?X-Amz-Signature={CANARY}", str(tmp_path / "x.parquet")))
    refused(stepwave("import", "jsonl", str(tmp_path / "p.jsonl"), f"s3://{KEY_ID}:{CANARY}@bucket/x.parquet"))


def test_what_only_looks_like_one_is_taken(configured: Callable[..., Config]) -> None:
    configured(
        "input.path=s3://bucket/a?b/*.parquet",
        "output.path=/data/me@work/run",
        "models.draft.model=models/qwen@v2",
        "models.draft.engine.max_num_batched_tokens=1",
        "models.draft.engine.long_prefill_token_threshold=1",
        "models.draft.engine.tokenizer_mode=auto",
        "models.draft.engine.skip_tokenizer_init=false",
        "models.draft.engine.api_key_env=STEPWAVE_KEY",
        "models.draft.engine.x={token: null, use_auth: true}",
        "models.target.model=nobody/sk-learn-and-other-long-names",
        "models.prm.model=/data/hf_models_for_everything_else",
        "prompt.system='Write postgresql://user:password@host where you need a token=secret'",
        "storage={endpoint_url: 'http://127.0.0.1:9000', region: auto}",
        "storage.endpoint_url=https://minio.example.org/path/",
    )


def test_a_deployments_parameters_are_refused_without_repeating_them(
    values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Prefect logs what its own validation says."""
    from flows.generate import generate

    for written, told in WRITTEN[:6]:
        with pytest.raises(CredentialError) as caught:
            generate.validate_parameters({"config": merged(values, written)})
        assert told in str(caught.value)
        for part in SAID:
            assert part not in str(caught.value) + caplog.text


def test_addresses_in_the_errors_of_others_lose_their_passwords() -> None:
    told = redacted(f"cannot reach https://user:{CANARY}@host/x?a=1&X-Amz-Signature={CANARY}&b (ftp://x:{CANARY}@h)")
    assert CANARY not in told
    assert "https://***@host/x?a=1&X-Amz-Signature=***" in told


def test_credentials_of_the_environment_get_nowhere(
    configured: Callable[..., Config], s3: str, problem_set: Callable[..., str], tmp_path: Path
) -> None:
    """A whole run with a store that takes them: not in its files, not in what it prints, not in Prefect's folder."""
    import s3fs

    config = configured(f"output.path={s3}/run", input=problem_set({"problem": ["1+1?", "2+2?"]}))
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    home = tmp_path / "home"
    home.mkdir()
    secrets = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": CANARY, "HF_TOKEN": HUB}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    ran = subprocess.run(
        [sys.executable, "-m", "flows", "generate", str(tmp_path / "job.yaml")],
        cwd=ROOT,
        env=kept | secrets | {"HOME": str(home), "PREFECT_HOME": str(home)},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    written = {path: fs.cat_file(path) for path in fs.find(f"{s3[5:]}/run")}
    assert any(path.endswith("manifest.json") for path in written)
    written |= {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for where, content in (written | {"stdout": ran.stdout, "stderr": ran.stderr}).items():
        for secret in (CANARY, KEY_ID, HUB):
            assert secret.encode() not in content, where
