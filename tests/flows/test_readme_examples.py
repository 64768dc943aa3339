"""What the Markdown files show: links lead somewhere, commands run, configurations are taken."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from half_right import grade_by_parity

from flows.cli import application, runs
from schemas.config import Config
from schemas.evaluation import EvaluationConfig

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("flows", "tasks", "schemas", "tests", "deploy")
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for f in FOLDERS for p in (ROOT / f).rglob("README.md"))]
COMMANDS = ROOT / "flows" / "README.md"
SCRIPTED = {"kind": "scripted", "max_model_len": 512}
RUNNABLE = ["demo", "check", "generate", "status and show", "report", "calibrate", "evaluate", "export", "rollouts"]
RUNNABLE += ["Methods"]
"""Sections whose examples are run here, in this order; that of import needs a file from elsewhere."""


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    here = ROOT / page
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", here.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        there = (here.parent / path).resolve() if path else here
        if not there.exists() or (anchor and anchor not in headings(there)):
            dead.append(link)
    assert dead == []


def test_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def examples(section: str) -> list[list[str]]:
    """The words of a section's commands, without `stepwave`."""
    text = COMMANDS.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    shown = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return [shlex.split(line)[1:] for line in shown.splitlines()]


def test_every_command_has_a_section() -> None:
    commands = {name for name in application.app if not name.startswith("-")}
    shown = {words[0] for section in [*RUNNABLE, "import"] for words in examples(section)}
    assert shown == commands


def test_configurations_are_taken() -> None:
    readme, *_ = blocks(ROOT / "README.md", "yaml")
    Config.model_validate(yaml.safe_load(readme))
    whole = [text for text in blocks(COMMANDS, "yaml") if "benchmarks:" in text]
    assert len(whole) == 2
    for text in whole:
        EvaluationConfig.model_validate(yaml.safe_load(text))
    usual = yaml.safe_load(readme)
    for text in blocks(COMMANDS, "yaml"):
        if text not in whole:
            Config.model_validate(usual | yaml.safe_load(text))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the demo's files, of which the configurations have scripted engines and few problems."""
    demo = tmp_path / "deploy" / "demo"
    demo.mkdir(parents=True)
    (demo / "models").symlink_to(ROOT / "deploy" / "demo" / "models")
    problems = pl.read_parquet(ROOT / "deploy" / "demo" / "problems.parquet").head(8)
    problems.with_columns(answer=pl.lit("1")).write_parquet(demo / "problems.parquet")
    grade_by_parity(monkeypatch)
    for name in ("config.yaml", "evaluation.yaml"):
        config: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "demo" / name).read_text())
        for role, model in config["models"].items():
            model["engine"] = SCRIPTED | {"tokens_per_step": {"target": 9}.get(role, 12)}
        if "methods" in config:
            config["methods"] = [entry for entry in config["methods"] if entry["method"] in ("target", "rsd")]
        (demo / name).write_text(yaml.safe_dump(config))
    monkeypatch.setattr(runs, "DEMO", demo / "config.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(words: list[str]) -> int | str | None:
    """Exit code of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["stepwave", *words])
        with pytest.raises(SystemExit) as end:
            application.main()
    return end.value.code


def test_the_examples_of_the_commands_run(clone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for section in RUNNABLE:
        for words in examples(section):
            code = call(words)
            told = capfd.readouterr()
            assert code == 0, f"{shlex.join(words)}\n{told.err}"
            assert told.out, words
