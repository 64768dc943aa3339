"""Which PRM may be asked after a run, and what mistakes there are in naming it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from test_command_line import Said, is_mistake, stepwave  # noqa: F401

from export.made import attempt, draft, solved
from export.scored import rewritten, rows
from schemas.config import Config
from tasks.decoding.requests import ScoreRequest

Command = Callable[..., Said]

Write = Callable[..., str]


def test_a_writers_confidence_cannot_be_asked_for_later(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    configured: Callable[..., Config],
) -> None:
    own = configured().models.model_dump(mode="json", exclude_defaults=True) | {"prm": {"format": "confidence"}}
    run = write("run", rewritten("p0"), models=own)
    code, said, _ = stepwave("export", "step-dpo", run, f"{tmp_path}/pairs", "--splits", "none")
    assert code == 0
    assert "1 steps stay without a reward: rewards are the writers' own confidence" in said
    assert "none: the writer's own confidence (mean)" in (tmp_path / "pairs" / "README.md").read_text()
    assert [row["chosen_reward"] for row in rows(tmp_path / "pairs")] == [None]
    other = ["--set", "models.prm={format: qwen, model: x}"]
    is_mistake(stepwave("export", "step-dpo", run, f"{tmp_path}/no", *other), "--set models.prm:", "models.prm.*")


def test_mistakes_are_told_in_a_line(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
) -> None:
    run = write("run", rewritten("p0"))
    none = f"{tmp_path}/none"

    def refused(*told: str, kind: str = "step-dpo", set: str | None = None, options: Sequence[str] = ()) -> None:
        words = [] if set is None else ["--set", set]
        is_mistake(stepwave("export", kind, run, f"{tmp_path}/no", *words, *options), *told)

    refused("another PRM", "models.prm.format", set="models.prm.format=outcome")
    refused("only storage.*, models.prm.*", "and run.*", set="decoding.samples=2")
    refused("--set models.target.model: no run's PRM is its target", set="models.target.model=x")
    refused(
        "--set run.sharing", "run.engine_restarts, run.engine_patience, run.batch_invariant", set="run.sharing=turns"
    )
    refused("--set run.batch_invariant", "asks no PRM", kind="sft", set="run.batch_invariant=true")
    keep = ["--unscored", "keep"]
    refused("--set run.batch_invariant", "asks no PRM", options=keep, set="run.batch_invariant=true")
    refused("--unscored", "not for --labels answer", kind="prm", options=["--labels", "answer", "--unscored", "drop"])
    refused("--unscored keep is for step-dpo", kind="prm", options=["--unscored", "keep"])
    refused("--unscored is for step-dpo and prm", kind="dpo", options=["--unscored", "drop"])
    refused("run.engine_restarts", set="run.engine_restarts=-1")
    gone = write("gone", rewritten("p0"), prm={"model": none})
    is_mistake(stepwave("export", "step-dpo", gone, f"{tmp_path}/no"), gone, none, "--unscored keep")
    is_mistake(stepwave("export", "prm", gone, f"{tmp_path}/no"), gone, none, "--unscored drop")
    bare = [solved("p0", [attempt("target", "One.", None)])]
    gone = write("bare", bare, prm={"model": none}, decoding={"method": "target"})
    is_mistake(stepwave("export", "prm", gone, f"{tmp_path}/no"), gone, none, "--labels answer")


def test_mistakes_of_a_later_run_are_told_before_the_first_is_scored(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    none = {"model": f"{tmp_path}/none"}
    runs = [write("a", rewritten("p0")), write("gone", rewritten("p1"), prm=none)]
    said = stepwave("export", "step-dpo", *runs, f"{tmp_path}/no")
    is_mistake(said, runs[1], none["model"])
    assert not asked
    assert not (Path(runs[0]) / "rewards").exists()
    whole = write("whole", [solved("p2", draft("All is known."))], prm=none)
    code, _, told = stepwave("export", "prm", runs[0], whole, f"{tmp_path}/prm")
    assert code == 0, told


def test_a_prm_that_has_moved(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
    models: Path,
    configured: Callable[..., Config],
) -> None:
    old, new = str(tmp_path / "of-old"), str(tmp_path / "moved")
    shutil.copytree(models / "prm", new)
    run = write("run", rewritten("p0"), prm={"model": old})
    words = ["--splits", "none", "--margin", "-1", "--set", f"models.prm.model={new}"]
    served = ["models.prm.engine.max_model_len=256", "models.prm.params=7.0e+6"]
    code, _, told = stepwave(
        "export", "step-dpo", run, f"{tmp_path}/pairs", *words, *(part for one in served for part in ("--set", one))
    )
    assert (code, len(asked)) == (0, 1), told
    assert f"its rewards are from {old}; {new} is taken for the same model in another place" in told
    assert "recorded are from `of-old`, these from `moved`" in (tmp_path / "pairs" / "README.md").read_text()

    same = configured().models.model_dump(mode="json", exclude_defaults=True)
    same["prm"] = {"same_as": "target", "format": "judge"}
    same["target"]["model"] = old
    shutil.copytree(models / "target", moved := tmp_path / "writer")
    hosted = write("hosted", rewritten("p0"), models=same)
    words[-1] = f"models.target.model={moved}"
    code, _, told = stepwave("export", "step-dpo", hosted, f"{tmp_path}/hosted-pairs", *words)
    assert (code, len(asked)) == (0, 2), told
    words[-1] = f"models.prm.model={models / 'draft'}"
    other = ["--set", "models.prm.same_as=null"]
    is_mistake(stepwave("export", "step-dpo", hosted, f"{tmp_path}/no", *words, *other), "models.prm.same_as")


def test_what_is_set_concerns_the_runs_that_have_a_prm(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    configured: Callable[..., Config],
) -> None:
    bare = [solved("p0", [attempt("target", "One.", None)])]
    alone = {"target": configured().models.model_dump(mode="json", exclude_defaults=True)["target"]}
    runs = [write("none", bare, decoding={"method": "target"}, models=alone), write("a", rewritten("p1"))]
    options = ["--splits", "none", "--set", "models.prm.engine.max_model_len=256"]
    code, said, _ = stepwave("export", "prm", *runs, f"{tmp_path}/prm", *options)
    assert code == 0
    assert "method target has no rewards, and the configuration names no PRM" in said
    assert {row["problem_id"] for row in rows(tmp_path / "prm")} == {"p1"}


def test_an_engine_that_does_not_come_back_ends_the_export(
    stepwave: Command,  # noqa: F811
    write: Write,
    tmp_path: Path,
    asked: list[ScoreRequest],
) -> None:
    crash = {"engine": {"kind": "scripted", "crash": "First"}}
    run = write("run", rewritten("p0"), prm=crash)
    code, said, told = stepwave("export", "step-dpo", run, f"{tmp_path}/no", "--set", "run.engine_restarts=0")
    assert (code, said) == (1, "")
    assert "the prm engine died" in told
    assert f"to go on: stepwave export step-dpo {run}" in told
