"""The command line: exit codes, what is told of a mistake, and that a stopped run goes on."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from invariants import check, read_tables
from polars.testing import assert_frame_equal

from flows.cli import application
from schemas.config import Config

ROOT = Path(__file__).resolve().parents[3]
Said = tuple[int, str, str]


@pytest.fixture
def job_file(job: Callable[..., Config], tmp_path: Path) -> str:
    """The usual job as a file."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job().model_dump(mode="json")))
    return str(path)


@pytest.fixture
def stepwave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A command in this process: exit code, stdout, stderr."""

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["stepwave", *words])
        monkeypatch.setattr(logging, "raiseExceptions", False)  # handlers hold the stderr of an earlier test
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            application.main()
        said = capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, said.out, said.err

    return run


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's environment: no credentials, nothing of this machine's Prefect."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))}
    home = tmp_path / "home"
    home.mkdir()
    return kept | {"HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "AWS_EC2_METADATA_DISABLED": "true"}


def start(environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def is_mistake(said: Said, *told: str) -> None:
    code, out, err = said
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert 1 <= len(err.strip().splitlines()) <= 2
    for part in told:
        assert part in err


# --- mistakes


@pytest.mark.parametrize("words", ["rollouts a b --samples", "export sft a b --per-problem", "calibrate a --problems"])
def test_a_fraction_is_no_whole_number(stepwave: Callable[..., Said], words: str) -> None:
    is_mistake(stepwave(*words.split(), "1.5"), f"{words.split()[-1]}: must be a whole number, not 1.5")


def changed(models: Path, to: Path, role: str, change: Callable[[Path], Any]) -> str:
    shutil.copytree(models / role, to)
    change(to)
    return str(to)


def rename_tag(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("<extra_0>", "<other_0>"))


def test_mistakes_of_the_input(stepwave: Callable[..., Said], job_file: str, problem_set: Any, tmp_path: Path) -> None:
    def of(path: str) -> Said:
        return stepwave("check", job_file, "--set", f"input.path={path}")

    is_mistake(of(f"{tmp_path}/no.parquet"), f"{tmp_path}/no.parquet")
    is_mistake(of(problem_set({"question": ["a"]}, "a.parquet")), "a.parquet", "'problem'", "question")
    is_mistake(of(problem_set({"problem": [1]}, "b.parquet")), "b.parquet", "'problem'", "int64")
    whole = Path(problem_set({"problem": ["a"]}, "c.parquet"))
    whole.write_bytes(whole.read_bytes()[:-9])
    is_mistake(of(str(whole)), "c.parquet")
    is_mistake(of(f"{tmp_path}/*.csv"), "*.csv")


def test_rows_that_cannot_be_used_are_counted(stepwave: Callable[..., Said], job_file: str, problem_set: Any) -> None:
    path = problem_set({"problem": [None, "", "seven " * 50_000, "a", "b", "c"], "problem_id": list("123445")}, "n")
    code, out, _ = stepwave("check", job_file, "--json", "--set", f"input.path={path}")
    assert code == 0
    report = json.loads(out)
    assert (report["rows"], report["problems"]) == (6, 2)
    assert report["rejected"] == {
        "problem is null": 1,
        "problem is empty": 1,
        "problem_id (or the problem, where there is no id) is that of an earlier row": 1,
        "the prompt is longer than the models take": 1,
    }
    code, out, _ = stepwave("check", job_file, "--set", f"input.path={path}")
    assert code == 0
    assert "1 rows: problem is null" in out


def test_mistakes_of_the_configuration(stepwave: Callable[..., Said], job_file: str, tmp_path: Path) -> None:
    is_mistake(stepwave("check", str(tmp_path / "no.yaml")), "no.yaml")
    is_mistake(stepwave("check", str(tmp_path)), str(tmp_path), "directory")
    is_mistake(stepwave("check"), "CONFIG")
    is_mistake(stepwave("chekc", job_file), "chekc")
    is_mistake(stepwave("check", job_file, "--set", "decoding.acept.rule=clip"), "job.yaml", "did you mean accept?")
    is_mistake(stepwave("check", job_file, "--set", "decoding.samples=none"), "decoding.samples")
    Path(job_file).write_text("input: [")
    is_mistake(stepwave("check", job_file), "job.yaml", "line")


def test_mistakes_of_the_models(
    stepwave: Callable[..., Said], job_file: str, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(role: str, path: str) -> Said:
        return stepwave("check", job_file, "--set", f"models.{role}.model={path}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    is_mistake(of("target", "/no/such"), "models.target.model", "/no/such")
    is_mistake(of("draft", "nobody/such-model"), "models.draft.model", "nobody/such-model")
    is_mistake(of("prm", str(models / "draft")), "models.prm.model", "Qwen2ForCausalLM")
    untagged = changed(models, tmp_path / "untagged", "prm", rename_tag)
    is_mistake(of("prm", untagged), "models.prm.model", untagged, "<extra_0>")
    speechless = changed(models, tmp_path / "speechless", "draft", lambda d: (d / "tokenizer.json").unlink())
    is_mistake(of("draft", speechless), "models.draft.model", speechless, "tokenizer")
    mute = changed(models, tmp_path / "mute", "draft", lambda d: (d / "chat_template.jinja").unlink())
    is_mistake(of("draft", mute), "models.draft.model", "chat template")
    angry = "{{ raise_exception('no system here') }}"
    strict = changed(models, tmp_path / "strict", "draft", lambda d: (d / "chat_template.jinja").write_text(angry))
    is_mistake(of("draft", strict), "models.draft.model", "no system here")


def test_mistakes_of_the_output(stepwave: Callable[..., Said], job_file: str, tmp_path: Path, mixed: str) -> None:
    def of(path: str) -> Said:
        return stepwave("check", job_file, "--set", f"output.path={path}")

    is_mistake(of(f"{mixed}/out"), f"{mixed}/out")
    is_mistake(of(mixed), mixed)
    is_mistake(of(str(tmp_path)), str(tmp_path), "not a run's")
    is_mistake(of("gs://bucket/x"), "gs://")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    is_mistake(of(f"{tmp_path}/loop"), "loop")
    is_mistake(of(f"{tmp_path}/{'x' * 300}"), "xxx")


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_no_permission_on_the_output(stepwave: Callable[..., Said], job_file: str, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    is_mistake(stepwave("check", job_file, "--set", f"output.path={tmp_path}/locked/out"), "permission", "locked")


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="needs /proc, a file system that takes no new files")
def test_an_output_where_nothing_can_be_made(stepwave: Callable[..., Said], job_file: str, prefect: str) -> None:
    code, said, told = stepwave("generate", job_file, "--set", "output.path=/proc/stepwave")
    is_mistake((code, said, _mistake(told)), "/proc/stepwave")


def _mistake(told: str) -> str:
    """Of what a run says, which begins with what it is about to do and what to beware of, how it ends."""
    return "\n".join(line for line in told.splitlines() if line.startswith("stepwave: "))


def test_mistakes_as_a_user_meets_them(environment: dict[str, str], job_file: str, job: Any, mixed: str) -> None:
    """In processes of their own, before Prefect is started."""
    runs = {
        ("check", job_file, "--set", "decodin.seed=1"): ["job.yaml", "did you mean decoding?"],
        ("check", job_file, "--set", "input.path=s3://bucket/p.parquet"): ["s3://bucket", "credentials", "AWS_"],
        ("generate", job_file, "--set", "input.path=/no.parquet"): ["/no.parquet"],
        ("generate", job_file, "--set", "output.path=s3://bucket/x"): ["s3://bucket", "credentials", "AWS_"],
    }
    # a few at a time: each imports for seconds
    for pair in (list(runs.items())[:2], list(runs.items())[2:]):
        started = [(start(environment, *words), told) for words, told in pair]
        for process, told in started:
            out, err = process.communicate()
            if words_of(process)[0] == "generate":  # says first what it is about to do
                err = _mistake(err)
            is_mistake((process.returncode, out, err), *told)


def words_of(process: subprocess.Popen[str]) -> list[str]:
    assert isinstance(process.args, list)
    return [str(word) for word in process.args[3:]]


# --- runs


def test_a_complete_run_and_its_exit_codes(
    stepwave: Callable[..., Said], job_file: str, out: Path, prefect: str, mixed: str, tmp_path: Path
) -> None:
    code, said, _ = stepwave("generate", job_file, "--json")
    assert code == 0
    manifest = json.loads(said)
    written = json.loads((out / "manifest.json").read_text())
    assert manifest == {k: v for k, v in written.items() if k != "checksum"} | {"output": str(out)}
    check(out, mixed)

    code, said, err = stepwave("generate", job_file)
    assert code == 0
    assert str(out) in said
    assert "Traceback" not in err

    is_mistake_after_progress = stepwave("generate", job_file, "--set", "decoding.seed=4")
    assert is_mistake_after_progress[0] == 2
    assert "decoding.seed: 0 there, 4 here" in is_mistake_after_progress[2]
    is_mistake(stepwave("check", job_file, "--set", "decoding.seed=4"), "decoding.seed: 0 there, 4 here", str(out))

    refusing = ["--set", "models.draft.engine.refuse=' 5 spoons.'", "--set", f"output.path={tmp_path}/failing"]
    code, said, err = stepwave("generate", job_file, *refusing)
    assert code == 3
    assert "2 failed" in said
    assert f"{tmp_path}/failing" in err
    assert read_tables(tmp_path / "failing")[0].filter(status="failed").height == 2


def test_check_says_one_json_object(environment: dict[str, str], job_file: str) -> None:
    process = start(environment, "check", job_file, "--json")
    out, err = process.communicate()
    assert process.returncode == 0
    report = json.loads(out)
    assert (report["rows"], report["problems"], report["samples"], report["shards"]) == (60, 56, 2, 5)
    assert (report["shards_done"], report["complete"], report["shared_vocabulary"]) == (0, False, True)
    assert set(report["models"]) == {"draft", "target", "prm"}
    assert err == ""


def wait_for(process: subprocess.Popen[str], out: Path, pattern: str) -> None:
    """Until the run has written files that match."""
    while not list(out.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.tier2
def test_a_killed_and_an_interrupted_run_go_on(
    environment: dict[str, str], prefect: str, job: Any, generate: Any, job_file: str, out: Path, tmp_path: Path
) -> None:
    slow = [w for role in ("draft", "target", "prm") for w in ("--set", f"models.{role}.engine.seconds=0.05")]
    words = ["generate", job_file, *slow]
    # a server of its own would outlive the killed process
    killed = start(environment | {"PREFECT_API_URL": prefect}, *words)
    wait_for(killed, out, "checkpoints/*/*.parquet")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    before = set(out.glob("checkpoints/*/*.parquet")) | set(out.glob("shards/*.json"))
    stopped = start(environment, *words)
    while set(out.glob("checkpoints/*/*.parquet")) | set(out.glob("shards/*.json")) <= before:
        assert stopped.poll() is None, stopped.communicate()
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    said, err = stopped.communicate()
    assert stopped.returncode == 130
    assert said == ""
    assert err.strip().splitlines()[-1].startswith(f"interrupted; to go on: stepwave generate {job_file} --set models.")
    assert "Traceback" not in err
    assert not (out / "manifest.json").exists()
    assert not list(out.glob("checkpoints/claims/*/*.json"))

    generate(job())
    check(out)
    generate(job(output=str(tmp_path / "whole")))
    for a, b in zip(read_tables(out), read_tables(tmp_path / "whole"), strict=True):
        assert_frame_equal(a.drop("wave", strict=False), b.drop("wave", strict=False))


def test_help_costs_no_heavy_import() -> None:
    program = "import sys; from flows import cli; sys.argv[1:] = ['--help']; cli.app(exit_on_error=False)"
    program = f"try:\n {program}\nexcept SystemExit: pass\nprint(sorted(set(sys.modules) & set(sys.argv[0:0] + HEAVY)))"
    heavy = ["torch", "transformers", "prefect", "vllm", "polars", "pyarrow"]
    found = subprocess.run(
        [sys.executable, "-c", f"HEAVY = {heavy}\n{program}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip().endswith("[]")
    assert "generate" in found.stdout


def test_import_then_check(stepwave: Callable[..., Said], job_file: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"problem": "1+1?", "answer": "2"}\n{"problem": "2+2?", "answer": "4"}\n')
    code, *_ = stepwave("import", "jsonl", str(tmp_path / "p.jsonl"), str(tmp_path / "imported.parquet"))
    assert code == 0
    assert pq.read_table(tmp_path / "imported.parquet").column("problem") == pa.chunked_array([["1+1?", "2+2?"]])
    code, out, _ = stepwave("check", job_file, "--json", "--set", f"input.path={tmp_path}/imported.parquet")
    assert code == 0
    assert json.loads(out)["problems"] == 2
    is_mistake(stepwave("import", "gsm9k", str(tmp_path / "p.jsonl"), str(tmp_path / "x.parquet")), "gsm9k")
    is_mistake(stepwave("import", "jsonl", str(tmp_path / "no.jsonl"), str(tmp_path / "x.parquet")), "no.jsonl")


CLOSED = pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])


@CLOSED
def test_a_command_needs_none_of_its_standard_streams(environment: dict[str, str], closed: str) -> None:
    words = ["sh", "-c", f'exec "$0" -m flows --version {closed}', sys.executable]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@CLOSED
def test_nothing_that_is_opened_later_takes_a_closed_streams_place(
    environment: dict[str, str], closed: str, tmp_path: Path
) -> None:
    script = (
        "import os, sys; from flows.cli.application import _open_streams; "
        "from flows.terminal.progress import Progress; _open_streams(); "
        "found = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); "
        "Progress().__enter__().say('said'); print('said'); sys.stdin.fileno(); "
        "os.write(found, b'%d %d' % (found > 2, all(map(os.get_inheritable, range(3)))))"
    )
    words = ["sh", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, script, str(tmp_path / "later")]
    subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert (tmp_path / "later").read_bytes() == b"1 1"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [["--help"], ["check", "JOB", "--json"]])
def test_a_full_disk_under_stdout_is_told(command: list[str], environment: dict[str, str], job_file: str) -> None:
    command = [job_file if word == "JOB" else word for word in command]
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "flows", *command]
        ended = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "writing to stdout failed (No space left on device)" in ended.stderr


def test_a_working_directory_that_is_gone_is_told(
    stepwave: Callable[..., Said], job_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    is_mistake(stepwave("check", job_file, "--set", "output.path=out"), "the working directory no longer exists")
